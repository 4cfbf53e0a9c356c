"""A million keys in nested directories and as many in one: `python -m bench.million [--nested KEYS] [--flat KEYS]`.

Prints rates of puts and the broker's memory for each tenth; rates in the broker's CPU time do not depend on what else
the machine does. Batches are put in order, single commits change a key anywhere. Then it checks what is to be true:
a restart finds all, `flux fsck` finds nothing wrong, and a dump, restored in a fresh instance, has the same trees.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import flux.kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.core.handle import Flux
from flux.kvs import KVSTxn
from flux.testing import Instance

SINGLES = 500


def nested(number: int) -> str:
    return f"nested.{number // 10_000}.{number // 100 % 100}.k{number % 100}"


def flat(number: int) -> str:
    return f"flat.k{number}"


def memory(pid: int) -> int:
    """Resident MiB of a process."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20


def cpu(pid: int) -> float:
    """CPU seconds that the threads of a process have used."""
    return sum(int(stat.read_text().split()[0]) for stat in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def fill(handle: Flux, key: Callable[[int], str], first: int, last: int, batch: int) -> float:
    """Put keys, some in each commit; gives keys per second."""
    begin = time.perf_counter()
    for start in range(first, last, batch):
        txn = KVSTxn()
        for number in range(start, min(start + batch, last)):
            txn.put(key(number), number)
        flux.kvs.commit(handle, txn=txn)
    return (last - first) / (time.perf_counter() - begin)


def singles(handle: Flux, key: Callable[[int], str], count: int) -> float:
    """Put keys that are there already, at random, each in a commit of its own; gives commits per second."""
    begin = time.perf_counter()
    for _ in range(SINGLES):
        number = random.randrange(count)
        flux.kvs.commit(handle, txn=KVSTxn().put(key(number), number))
    return SINGLES / (time.perf_counter() - begin)


def grow(instance: Instance, key: Callable[[int], str], count: int, batch: int) -> None:
    handle = instance.handle()
    pid = int(handle.attr_get("broker.pid"))
    rates = []
    for tenth in range(10):
        last = count * (tenth + 1) // 10
        begin = cpu(pid)
        puts = fill(handle, key, count * tenth // 10, last, batch)
        middle = cpu(pid)
        commits = singles(handle, key, last)
        work = (count / 10 / (middle - begin), SINGLES / (cpu(pid) - middle))
        rates.append((puts, commits, *work))
        told = f"{puts:,.0f} puts/s, {commits:,.0f} commits/s; in CPU time {work[0]:,.0f} and {work[1]:,.0f}"
        print(f"{last:>9} {key(last)}: {told}; {memory(pid)} MiB", flush=True)
    ratios = [f"{last / first:.2f}" for first, last in zip(rates[0], rates[-1], strict=True)]
    print("the end to the beginning: puts {}, commits {}; in CPU time {} and {}".format(*ratios), flush=True)


def command(instance: Instance, *words: str) -> str:
    begin = time.perf_counter()
    result = instance.run("flux", *words, timeout=3600)
    if result.returncode:
        raise SystemExit(f"flux {words[0]}: {result.stderr}")
    print(f"flux {words[0]}: {time.perf_counter() - begin:.1f} s, {result.stderr.strip()}", flush=True)
    return result.stdout


def trees(instance: Instance, names: list[str], under: str = "") -> list[str]:
    """Blobrefs of directories."""
    return [
        flux.kvs.lookup_async(instance.handle(), f"{under}{name}", FLUX_KVS_TREEOBJ).get()["data"][0] for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.million", description="Fill the KVS and check what it kept.")
    parser.add_argument("--nested", type=int, default=1_000_000, help="keys in nested directories (default: a million)")
    parser.add_argument("--flat", type=int, default=1_000_000, help="keys in one directory (default: a million)")
    parser.add_argument("--batch", type=int, default=100, help="puts in a commit (default: 100)")
    args = parser.parse_args()
    work = [(key, count) for key, count in ((nested, args.nested), (flat, args.flat)) if count]
    names = [key(0).partition(".")[0] for key, _ in work]
    with tempfile.TemporaryDirectory() as place:
        attrs = {"statedir": place}
        archive = str(Path(place, "dump.tar"))
        with Instance(1, attrs=attrs, timeout=600) as instance:
            for key, count in work:
                grow(instance, key, count, args.batch)
            roots = trees(instance, names)
        print(f"content.sqlite: {Path(place, 'content.sqlite').stat().st_size >> 20} MiB")
        with Instance(1, attrs=attrs, timeout=600) as instance:
            if trees(instance, names) != roots:
                raise SystemExit("after a restart there are other trees")
            command(instance, "fsck")
            command(instance, "dump", archive)
        with Instance(1, timeout=600) as instance:
            command(instance, "restore", "--key=again", archive)
            if trees(instance, names, "again.") != roots:
                raise SystemExit("the dump, restored, has other trees")
        print("after a restart, and from a dump, there are the same trees")


main()
