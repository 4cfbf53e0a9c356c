"""Seconds for one put and commit, one at a time, into one directory; argument: how many."""

import sys
import time

import flux
import flux.kvs

count = int(sys.argv[1])
handle = flux.Flux()
start = time.perf_counter()
for i in range(count):
    flux.kvs.put(handle, f"bench.k{i}", i)
    flux.kvs.commit(handle)
print((time.perf_counter() - start) / count)
