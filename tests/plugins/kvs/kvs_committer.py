"""Commits numbers without end, and says which of them are on disk; arguments: URI, name of a directory."""

from __future__ import annotations

import sys

import flux
from flux import kvs
from flux.constants import FLUX_KVS_SYNC
from flux.kvs import KVSTxn

uri, name = sys.argv[1:]
handle = flux.Flux(uri)
number = int(kvs.get(handle, f"{name}.last")) if kvs.exists(handle, f"{name}.last") else 0
while True:
    number += 1
    flags = FLUX_KVS_SYNC if number % 3 == 0 else 0
    txn = KVSTxn().put(f"{name}.k{number}", number).put(f"{name}.last", number).append(f"{name}.log", f"{number}\n")
    kvs.commit(handle, flags, txn=txn)
    print(f"{number} {'synced' if flags else 'seen'}\n", end="", flush=True)
