"""The subprocess server (RFC 42)."""
