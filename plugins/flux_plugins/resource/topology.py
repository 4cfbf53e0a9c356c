"""This host as hwloc version 2 XML, which lstopo(1) and job shells read (resource.topo-get).

It holds the packages, NUMA nodes, caches, cores and processing units (PUs) that Linux shows under /sys, as far as the
affinity mask covers them, and graphics devices.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flux.idset import IDset
from flux_plugins.resource.devices import device_lines
from flux_plugins.resource.tree import TopologyObject

__all__ = ["hwloc_xml"]

_HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE topology SYSTEM "hwloc2.dtd">\n'
_CACHE_TYPES = {"Unified": "0", "Data": "1", "Instruction": "2"}
_LEVELS = ("Package", "Group", "L5Cache", "L4Cache", "L3Cache", "L2Cache", "L1Cache")
_INNER_LEVELS = ("L3iCache", "L2iCache", "L1iCache", "Core", "PU")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Objects = Iterator[TopologyObject]


def hwloc_xml(hostname: str, cpus: frozenset[int] | None = None, root: str = "/") -> str:
    """The topology.

    Args:
        cpus: those to show; default: those this process may use.
        root: directory that has the sys and proc to read.
    """
    wanted = frozenset(os.sched_getaffinity(0)) if cpus is None else cpus
    system = Path(root, "sys/devices/system")
    order = (*_LEVELS, *_INNER_LEVELS)
    found = [*_processors(system / "cpu", wanted), *_caches(system / "cpu", wanted)]
    found += _packages(system / "cpu", wanted, Path(root, "proc/cpuinfo"))
    machine = _machine(hostname, wanted)
    for part in sorted(found, key=lambda part: (-len(part.cpus), order.index(part.type), part.os_index)):
        machine.insert(part)
    nodes = list(_numa_nodes(system / "node", wanted)) or [_whole_memory(wanted)]
    for node in nodes:
        machine.insert_memory(node)
    *lines, end = machine.lines({int(node.os_index): node.cpus for node in nodes})
    lines = [*lines, *device_lines(Path(root), "    "), end]
    return f'{_HEADER}<topology version="2.0">\n' + "".join(f"{line}\n" for line in lines) + "</topology>\n"


def _machine(hostname: str, cpus: frozenset[int]) -> TopologyObject:
    uname = os.uname()
    machine = TopologyObject("Machine", 0, cpus)
    machine.infos = {
        "Backend": "Linux",
        "OSName": uname.sysname,
        "OSRelease": uname.release,
        "HostName": hostname,
        "Architecture": uname.machine,
    }
    return machine


def _processors(system: Path, cpus: frozenset[int]) -> Objects:
    """PUs, and cores, which are the PUs that share one; a host that does not say so has one core per PU."""
    cores: dict[frozenset[int], int] = {}
    for cpu in sorted(cpus):
        yield TopologyObject("PU", cpu, frozenset({cpu}))
        topology = system / f"cpu{cpu}" / "topology"
        shared = _cpu_list(topology / "thread_siblings_list") & cpus or frozenset({cpu})
        cores.setdefault(shared, int(_text(topology / "core_id") or cpu))
    for shared, number in cores.items():
        yield TopologyObject("Core", number, shared)


def _packages(system: Path, cpus: frozenset[int], cpuinfo: Path) -> Objects:
    members: dict[int, set[int]] = {}
    for cpu in cpus:
        number = int(_text(system / f"cpu{cpu}" / "topology/physical_package_id") or 0)
        members.setdefault(max(number, 0), set()).add(cpu)
    infos = _processor_infos(cpuinfo)
    for number, own in members.items():
        package = TopologyObject("Package", number, frozenset(own))
        package.infos = infos
        yield package


def _processor_infos(cpuinfo: Path) -> dict[str, str]:
    names = {"vendor_id": "CPUVendor", "model name": "CPUModel"}
    fields = (line.partition(":") for line in _text(cpuinfo).splitlines())
    found = {name.strip(): value.strip() for name, _, value in fields if name.strip() in names}
    return {names[name]: value for name, value in found.items() if value}


def _caches(system: Path, cpus: frozenset[int]) -> Objects:
    seen: set[tuple[str, frozenset[int]]] = set()
    for cpu in sorted(cpus):
        for path in sorted((system / f"cpu{cpu}" / "cache").glob("index*")):
            kind, depth = _text(path / "type"), _text(path / "level")
            shared = _cpu_list(path / "shared_cpu_list") & cpus or frozenset({cpu})
            name = f"L{depth}{'i' if kind == 'Instruction' else ''}Cache"
            if kind not in _CACHE_TYPES or name not in (*_LEVELS, *_INNER_LEVELS) or (name, shared) in seen:
                continue
            seen.add((name, shared))
            cache = TopologyObject(name, len(seen), shared)
            cache.attributes = {
                "cache_size": str(_size(_text(path / "size"))),
                "depth": depth,
                "cache_linesize": _text(path / "coherency_line_size") or "0",
                "cache_associativity": _text(path / "ways_of_associativity") or "0",
                "cache_type": _CACHE_TYPES[kind],
            }
            yield cache


def _numa_nodes(system: Path, cpus: frozenset[int]) -> Objects:
    for path in sorted(system.glob("node[0-9]*"), key=lambda path: int(path.name[4:])):
        own = _cpu_list(path / "cpulist")
        if own and not own & cpus:
            continue
        node = TopologyObject("NUMANode", int(path.name[4:]), own & cpus)
        total = next((line for line in _text(path / "meminfo").splitlines() if "MemTotal:" in line), "")
        node.attributes = {"local_memory": str(int(total.split()[-2]) << 10 if total else 0)}
        yield node


def _whole_memory(cpus: frozenset[int]) -> TopologyObject:
    node = TopologyObject("NUMANode", 0, cpus)
    node.attributes = {"local_memory": str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))}
    return node


def _text(path: Path) -> str:
    """Contents of a file; "" where the kernel or a container does not show it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpu_list(path: Path) -> frozenset[int]:
    return frozenset(IDset(_text(path)))


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:], 1)
    return int(text.rstrip("KMG") or 0) * unit
