"""The default scheduler: first fit by core (RFC 27)."""
