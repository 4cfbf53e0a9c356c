"""Connectors: what opens a connection for a URI scheme."""
