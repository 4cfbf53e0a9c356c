"""Lookups that go on as keys change (flux_kvs_lookup(3), FLUX_KVS_WATCH)."""
