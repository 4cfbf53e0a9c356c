"""The log service: ring buffer, forwarding, stderr."""
