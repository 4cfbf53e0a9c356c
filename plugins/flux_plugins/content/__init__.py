"""The content service: blobs by the hash of what is in them, cached on every rank (RFC 10)."""
