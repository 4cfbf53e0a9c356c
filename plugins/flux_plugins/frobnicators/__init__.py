"""Frobnicators that come with Flux, see flux-config-ingest(5)."""
