"""The key-value store: a hash tree over the content service, led by rank 0 (RFC 11, flux-kvs(1))."""
