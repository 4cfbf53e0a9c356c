"""Seconds of one blocking RPC to a rank; arguments: rank, bytes of payload, number of RPCs."""

import sys
import time

import flux

rank, size, count = map(int, sys.argv[1:])
handle = flux.Flux()
request = {"seq": 0, "pad": "x" * size}
handle.rpc("broker.ping", request, nodeid=rank).get()
start = time.perf_counter()
for _ in range(count):
    handle.rpc("broker.ping", request, nodeid=rank).get()
print((time.perf_counter() - start) / count)
