"""Garbage collection of content, always on (flux-gc(1))."""
