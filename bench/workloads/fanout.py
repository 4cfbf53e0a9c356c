"""Seconds until an event has reached all subscribers; arguments: subscribers, number of events."""

import sys
import time

import flux

subscribers, count = map(int, sys.argv[1:])
handles = [flux.Flux() for _ in range(subscribers)]
for handle in handles:
    handle.event_subscribe("fanout")
publisher = flux.Flux()
start = time.perf_counter()
for n in range(count):
    publisher.event_send("fanout", {"n": n})
for handle in handles:
    for _ in range(count):
        handle.event_recv()
print((time.perf_counter() - start) / count)
