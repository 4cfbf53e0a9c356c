"""Where resource sets come from: entries of the configuration (flux-config-resource(5)), hwloc XML, this host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from glob import glob
from typing import Any, NamedTuple

from flux.hostlist import Hostlist
from flux.resource.Rlist import Rlist

__all__ = ["HostResources", "count_gpus", "from_entries", "read_xml"]

_COPROCESSOR = "5"  # hwloc's osdev_type of what computes, such as a CUDA or ROCm device
_KEYS = ("hosts", "cores", "gpus", "properties")


def from_entries(entries: Iterable[Mapping[str, Any]], hosts: list[str]) -> Rlist:
    """The set that the entries of `resource.config` describe.

    Args:
        hosts: host name of each rank; what an entry says of a host is said of each rank on it.

    ValueError names the entry and what is wrong in it.
    """
    rlist = Rlist()
    for i, entry in enumerate(entries):
        try:
            _add_entry(rlist, entry, hosts)
        except (ValueError, TypeError, KeyError) as exc:
            text = f"missing key {exc}" if isinstance(exc, KeyError) else str(exc)
            raise ValueError(f"config[{i}]: {text}") from None
    empty = [
        host
        for rank, host in zip(rlist.ranks(), rlist.nodelist(), strict=True)
        if not any(rlist.children(rank).values())
    ]
    if empty:
        raise ValueError(f"config: {Hostlist(empty)} assigned no resources")
    return rlist


def _add_entry(rlist: Rlist, entry: Mapping[str, Any], hosts: list[str]) -> None:
    unknown = entry.keys() - set(_KEYS)
    if unknown:
        raise ValueError(f"unknown key {sorted(unknown)[0]!r}: it takes {', '.join(_KEYS[:-1])} and {_KEYS[-1]}")
    known = rlist.ranks()
    for host in dict.fromkeys(Hostlist(entry["hosts"])):
        ranks = [rank for rank, name in enumerate(hosts) if name == host]
        if not ranks:
            raise ValueError(f"host {host} is not in the instance, which has {Hostlist(hosts)}")
        for rank in ranks:
            if rank not in known and rank not in rlist.ranks():
                rlist.add_rank(rank, host, entry.get("cores", ""))
            elif "cores" in entry:
                rlist.add_child(rank, "core", entry["cores"])
            if "gpus" in entry:
                rlist.add_child(rank, "gpu", entry["gpus"])
            for name in entry.get("properties", ()):
                rlist.set_property(name, rank)


class HostResources(NamedTuple):
    """Name of a host, and how many cores and GPUs it has."""

    hostname: str
    cores: int
    gpus: int


def read_xml(path: str, named: bool = True) -> HostResources:
    """What an hwloc XML file, as `lstopo FILE.xml` writes it, describes: coprocessors count as GPUs.

    Args:
        named: it has to say the host's name, which those of made-up hosts do not.

    OSError when it cannot be read, ValueError when it is no such file.
    """
    from xml.etree import ElementTree

    try:
        topology = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as exc:
        raise ValueError(f"{path} is no XML: {exc}") from None
    parts = list(topology.iter("object"))
    cores = sum(part.get("type") == "Core" for part in parts)
    gpus = sum(part.get("type") == "OSDev" and part.get("osdev_type") == _COPROCESSOR for part in parts)
    host = next((info.get("value") for info in topology.iter("info") if info.get("name") == "HostName"), None)
    if not cores or (named and not host):
        raise ValueError(f"{path} describes no host with cores, as `lstopo FILE.xml` writes it")
    return HostResources(host or "", cores, gpus)


def count_gpus(root: str | os.PathLike[str] = "/") -> int:
    """GPUs of this host for jobs: those that the driver of NVIDIA or the compute driver of AMD shows.

    Args:
        root: directory that has the sys and proc to read.
    """
    nvidia = len(glob(os.path.join(root, "proc/driver/nvidia/gpus/*")))
    amd = sum(map(_is_gpu, glob(os.path.join(root, "sys/class/kfd/kfd/topology/nodes/*/gpu_id"))))
    return nvidia + amd


def _is_gpu(path: str) -> bool:
    """Whether a node of the compute driver is one; CPUs have no id, and a container may not show it."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip() not in ("", "0")
    except OSError:
        return False
