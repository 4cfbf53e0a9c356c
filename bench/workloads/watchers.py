"""Seconds for a change of a watched key to be told on another rank; arguments: how many watchers, how many changes.

Each watcher is on a key of its own, on rank 1; rank 0 changes one key after the other and waits until it is told.
"""

import os
import sys
import time
from typing import Any

import flux
from flux.constants import FLUX_KVS_WAITCREATE, FLUX_KVS_WATCH, FLUX_RPC_STREAMING

FLAGS = FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE
VALUE = {"data": "MQ==", "type": "val", "ver": 1}


def change(handle: Any, keys: list[str]) -> None:
    ops = [{"key": key, "flags": 0, "dirent": VALUE} for key in keys]
    handle.rpc("kvs.commit", {"namespace": "primary", "flags": 0, "ops": ops}).get()


def main() -> None:
    watchers, count = map(int, sys.argv[1:])
    writer = flux.Flux()
    reader = flux.Flux(os.environ["FLUX_URI"].replace("local-0", "local-1"))
    keys = [f"bench.d{i % 50}.k{i}" for i in range(watchers)]
    change(writer, keys)
    watches = []
    for key in keys:
        request = {"namespace": "primary", "key": key, "flags": FLAGS}
        watches.append(reader.rpc("kvs-watch.lookup", request, flags=FLUX_RPC_STREAMING))
    for watch in watches:
        watch.get()
        watch.reset()
    start = time.perf_counter()
    for i in range(count):
        change(writer, [keys[i % watchers]])
        watches[i % watchers].get()
        watches[i % watchers].reset()
    print((time.perf_counter() - start) / count)


main()
