"""The cores of this host, by the numbers that resource sets (RFC 20) have for them, and the CPUs of each.

A core is what hwloc calls one: the CPUs (hardware threads, PUs) that share it. Cores are numbered as hwloc does in its
logical order, from 0 on over all that is switched on in the host: package by package, in it by memory node, by
last-level cache and by lowest CPU. The numbers are those of the whole host, so that brokers and instances that may use
different parts of it never mean different cores by the same number.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from glob import glob

from flux.idset import IDset

__all__ = ["cores_of", "cpus_of", "host_cores", "online_cpus"]

CPUS = frozenset[int]


@functools.cache
def host_cores(root: str = "/") -> tuple[CPUS, ...]:
    """The CPUs of core 0, core 1 and so on, as Linux shows them; where it does not, each CPU is a core.

    Args:
        root: directory that has the sys to read.
    """
    cpus = online_cpus(root)
    system = os.path.join(root, "sys/devices/system")
    packages = _groups(cpus, f"{system}/cpu/cpu%d/topology/core_siblings_list")
    caches = _groups(cpus, f"{system}/cpu/cpu%d/cache/index3/shared_cpu_list")
    cores = _groups(cpus, f"{system}/cpu/cpu%d/topology/thread_siblings_list")
    nodes = _memory_nodes(cpus, f"{system}/node")

    def place(cpu: int) -> tuple[int, ...]:
        return tuple(min(level[cpu]) for level in (packages, nodes, caches, cores))

    return tuple(dict.fromkeys(cores[cpu] for cpu in sorted(cpus, key=place)))


def online_cpus(root: str = "/") -> CPUS:
    """All CPUs that the host has switched on, whatever the affinity mask."""
    return _read(os.path.join(root, "sys/devices/system/cpu/online")) or frozenset(os.sched_getaffinity(0))


def cores_of(cpus: Iterable[int], root: str = "/") -> IDset:
    """Numbers of the cores that have any of these CPUs."""
    wanted = frozenset(cpus)
    return IDset(number for number, core in enumerate(host_cores(root)) if core & wanted)


def cpus_of(cores: Iterable[int], root: str = "/") -> list[int]:
    """The CPUs of cores, core by core. ValueError naming the cores that the host does not have."""
    known = host_cores(root)
    numbers = list(cores)
    unknown = IDset(number for number in numbers if number >= len(known))
    if unknown:
        raise ValueError(f"this host has {len(known)} cores, no {unknown}")
    return [cpu for number in numbers for cpu in sorted(known[number])]


def _groups(cpus: CPUS, path: str) -> dict[int, CPUS]:
    """CPU to the CPUs that it shares something with, reading one file for each group."""
    groups: dict[int, CPUS] = {}
    for cpu in sorted(cpus):
        if cpu not in groups:
            shared = _read(path % cpu) & cpus or frozenset({cpu})
            groups.update(dict.fromkeys(shared, shared))
    return groups


def _memory_nodes(cpus: CPUS, folder: str) -> dict[int, CPUS]:
    groups = dict.fromkeys(cpus, cpus)
    for path in glob(f"{folder}/node[0-9]*/cpulist"):
        shared = _read(path) & cpus
        groups.update(dict.fromkeys(shared, shared))
    return groups


def _read(path: str) -> CPUS:
    """A list of CPUs; none where the kernel or a container does not show it."""
    try:
        with open(path, encoding="ascii") as file:
            return frozenset(IDset(file.read().strip()))
    except OSError:
        return frozenset()
