"""Benchmarks that print ratios to a stock flux-core: `python -m bench`."""
