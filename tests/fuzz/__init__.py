"""Fuzz entry points."""
