"""Seconds for one operation on the KVS; arguments: which, how many.

"put": put and commit, one at a time, into one directory. "batch": puts of 1,000 in a commit. "get": of small values.
"committers": 16 processes at once, each as "put". "append": to an eventlog which rank 1 watches, until it has seen all.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import flux
import flux.kvs

BATCH, COMMITTERS = 1000, 16


def put(handle: Any, count: int, where: str = "put") -> None:
    for i in range(count):
        flux.kvs.put(handle, f"bench.{where}.k{i}", i)
        flux.kvs.commit(handle)


def batch(handle: Any, count: int) -> None:
    for start in range(0, count, BATCH):
        for i in range(start, start + BATCH):
            flux.kvs.put(handle, f"bench.batch{start}.k{i}", i)
        flux.kvs.commit(handle)


def get(handle: Any, count: int) -> None:
    for i in range(count):
        flux.kvs.get(handle, f"bench.put.k{i % 100}")


def timed(work: Callable[..., None], handle: Any, count: int) -> float:
    start = time.perf_counter()
    work(handle, count)
    return (time.perf_counter() - start) / count


def committers(count: int) -> float:
    """Each says when it is connected, and begins when all are."""
    words = [*sys.orig_argv[: -len(sys.argv)], __file__, "committer", str(count // COMMITTERS)]
    children = [subprocess.Popen(words, stdin=-1, stdout=-1, text=True) for _ in range(COMMITTERS)]
    for child in children:
        child.stdout.readline()
    start = time.perf_counter()
    for child in children:
        child.stdin.close()
    for child in children:
        if child.wait():
            raise SystemExit("a committer failed")
    return (time.perf_counter() - start) / count


def committer(count: int) -> None:
    handle = flux.Flux()
    handle.rpc("kvs.getroot", {"namespace": "primary", "flags": 0}).get()
    print("ready", flush=True)
    sys.stdin.read()
    put(handle, count, f"committer{os.getpid()}")


def append(handle: Any, count: int) -> float:
    event = {"data": "eyJ0aW1lc3RhbXAiOjEsIm5hbWUiOiJ4In0K", "type": "val", "ver": 1}
    request = {
        "namespace": "primary",
        "flags": 0,
        "ops": [{"key": "bench.log", "flags": 32, "dirent": event}],
    }
    handle.rpc("kvs.commit", request).get()
    words = ["flux", "kvs", "eventlog", "get", "--watch", f"--count={count + 1}", "bench.log"]
    env = {**os.environ, "FLUX_URI": os.environ["FLUX_URI"].replace("local-0", "local-1")}
    watcher = subprocess.Popen(words, env=env, stdout=-1, text=True)
    watcher.stdout.readline()
    start = time.perf_counter()
    for _ in range(count):
        handle.rpc("kvs.commit", request).get()
    seen = len(watcher.stdout.readlines())
    if watcher.wait() or seen != count:
        raise SystemExit(f"the watcher has seen {seen} of {count} events")
    return (time.perf_counter() - start) / count


def main() -> None:
    which, count = sys.argv[1], int(sys.argv[2])
    if which == "committer":
        committer(count)
        return
    handle = flux.Flux()
    if which == "append":
        print(append(handle, count))
    elif which == "committers":
        print(committers(count))
    else:
        if which == "get":
            put(handle, 100)
        print(timed({"put": put, "batch": batch, "get": get}[which], handle, count))


main()
