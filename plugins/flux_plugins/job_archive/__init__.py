"""Keeps what jobs did in an SQLite database, also when they have been purged (flux-config-archive(5))."""
