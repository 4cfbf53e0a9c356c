"""Seconds of `flux dump`, or `flux restore`, of keys with short and long values; arguments: which, how many, `flux`."""

import os
import subprocess
import sys
import tempfile
import time

import flux
import flux.kvs

which, count, command = sys.argv[1], int(sys.argv[2]), sys.argv[3]
handle = flux.Flux()
for directory in range(count // 100):
    for i in range(100):
        value = "x" * 20 if i % 2 else os.urandom(500).hex()
        flux.kvs.put(handle, f"bench.d{directory}.k{i}", value)
    flux.kvs.commit(handle)
handle.rpc("content.flush").get()
with tempfile.TemporaryDirectory() as folder:
    words = {
        "dump": [command, "dump", "--quiet", f"{folder}/out.tar"],
        "restore": [command, "restore", "--quiet", "--key=restored", f"{folder}/out.tar"],
    }
    if which == "restore":
        subprocess.run(words["dump"], check=True)
    start = time.perf_counter()
    subprocess.run(words[which], check=True)
    print(time.perf_counter() - start)
