"""What resources the instance has, and which of them are up (RFC 28, RFC 44)."""
