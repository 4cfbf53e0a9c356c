"""A content backing store of plain files."""
