"""The broker's life cycle."""
