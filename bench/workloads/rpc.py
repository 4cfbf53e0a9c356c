"""RPCs per second from one client: argument "blocking" or "pipelined", then the number of RPCs."""

import sys
import time

import flux

mode, count = sys.argv[1], int(sys.argv[2])
handle = flux.Flux()
handle.rpc("broker.ping", {"seq": 0}).get()
start = time.perf_counter()
if mode == "blocking":
    for seq in range(count):
        handle.rpc("broker.ping", {"seq": seq}).get()
else:
    for rpc in [handle.rpc("broker.ping", {"seq": seq}) for seq in range(count)]:
        rpc.get()
print((time.perf_counter() - start) / count)
