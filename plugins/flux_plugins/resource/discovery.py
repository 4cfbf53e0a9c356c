"""Where the inventory comes from: this process's cores, or the configuration (flux-config-resource(5))."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from typing import Any

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource import ResourceSet
from flux.resource.Rlist import Rlist
from flux.resource.sources import from_entries

__all__ = ["configured", "join", "local_inventory", "read_R", "with_nodelist"]


def local_inventory(rank: int, hostname: str, cores: Iterable[int], gpus: int = 0) -> Rlist:
    """What this broker has to offer: cores under their numbers in the host (`flux.cores`), and GPUs from 0 on."""
    rlist = Rlist()
    rlist.add_rank(rank, hostname, IDset(cores))
    if gpus:
        rlist.add_child(rank, "gpu", IDset(range(gpus)))
    return rlist


def join(parts: Iterable[Rlist]) -> Rlist:
    """Reports of ranks as one; of two about the same rank the later counts."""
    reports: dict[int, tuple[str, Rlist]] = {}
    for part in parts:
        reports.update({rank: (host, part) for rank, host in zip(part.ranks(), part.nodelist(), strict=True)})
    joined = Rlist()
    for rank, (host, part) in reports.items():
        children = part.children(rank)
        joined.add_rank(rank, host, children.pop("core", IDset()))
        for name, ids in children.items():
            joined.add_child(rank, name, ids)
    return joined


def configured(conf: Mapping[str, Any], hosts: list[str]) -> ResourceSet | None:
    """The inventory of the `[resource]` table: the entries of `config`, or the R in the file `path`; else None.

    What the file `scheduling` holds goes with either, as the key of that name.

    Args:
        hosts: host name of each rank; entries of `config` are given to the ranks of their hosts.

    FluxError EINVAL names what is wrong in the table.
    """
    table = conf.get("resource") or {}
    if "config" in table:
        inventory = _from_entries(table["config"], hosts)
    elif "path" in table:
        inventory = read_R(table["path"])
    else:
        return None
    if "scheduling" not in table:
        return inventory
    return ResourceSet({**inventory.to_dict(), "scheduling": _read_json("scheduling", table["scheduling"])})


def read_R(path: str) -> ResourceSet:
    """R (RFC 20) from a JSON file. FluxError ENOENT and its like, EINVAL when it is no R."""
    content = _read_json("path", path)
    try:
        return ResourceSet(content)
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"resource path {path}: {exc}") from None


def _read_json(key: str, path: str) -> Any:
    """A JSON object from the file that a key of the table [resource] names."""
    try:
        with open(path) as file:
            content = json.load(file)
    except OSError as exc:
        raise FluxError(exc.errno or errno.EIO, f"resource {key} {path}: {exc.strerror}") from None
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"resource {key} {path}: {exc}") from None
    if not isinstance(content, dict):
        raise FluxError(errno.EINVAL, f"resource {key} {path}: not a JSON object")
    return content


def _from_entries(entries: Any, hosts: list[str]) -> ResourceSet:
    try:
        return ResourceSet(from_entries(entries, hosts))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"[resource] {exc}") from None


def with_nodelist(resources: ResourceSet | dict[str, Any]) -> dict[str, Any]:
    """A set as R; `nodelist` is there for the empty set too, as stock clients want it."""
    R = resources.to_dict() if isinstance(resources, ResourceSet) else resources
    return {**R, "execution": {"nodelist": [""], **R["execution"]}}
