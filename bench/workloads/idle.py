"""What the brokers of an idle instance take up, per broker: "memory" (private bytes) or "cpu" (seconds per second)."""

import os
import sys
import time

import flux

SETTLE, WATCH = 2.0, 10.0


def ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def private(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        sizes = (line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))
        return sum(int(words[1]) << 10 for words in sizes)


handle = flux.Flux()
size = int(handle.attr_get("size"))
answers = [handle.rpc("attr.get", {"name": "broker.pid"}, nodeid=rank) for rank in range(size)]
pids = [int(answer.get()["value"]) for answer in answers]
del answers, handle
time.sleep(SETTLE)
if sys.argv[1] == "memory":
    print(sum(map(private, pids)) / size)
else:
    before = sum(map(ticks, pids))
    time.sleep(WATCH)
    print((sum(map(ticks, pids)) - before) / os.sysconf("SC_CLK_TCK") / WATCH / size)
