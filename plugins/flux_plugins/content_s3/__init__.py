"""A content backing store in an S3 bucket."""
