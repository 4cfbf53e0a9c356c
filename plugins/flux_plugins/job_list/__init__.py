"""What `flux jobs` shows: all jobs, by state, filtered (RFC 43)."""
