"""Starts the shells of jobs and follows them to their end (RFC 32)."""
