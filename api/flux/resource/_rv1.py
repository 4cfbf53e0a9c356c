"""R version 1 as JSON: checked reading and compact writing (RFC 20)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from flux.hostlist import Hostlist
from flux.idset import IDset

__all__ = ["Children", "Node", "Rv1", "check_property", "decode", "encode", "grouped", "hosts", "ordered", "seconds"]

MAX_RANKS = 1 << 20
"""Most ranks of one R, so that a damaged one is an error and no fatal one."""

_ILLEGAL_IN_PROPERTY = frozenset("!&'\"^`|()")

Children = dict[str, IDset]


class Node(msgspec.Struct):
    """What one rank holds: ``children`` maps "core", "gpu", ... to ids; the host name may be unknown."""

    children: Children
    hostname: str | None = None

    def copy(self) -> Node:
        """An independent copy."""
        return Node({name: ids.copy() for name, ids in self.children.items()}, self.hostname)


class Rv1(msgspec.Struct):
    """The contents of an R."""

    nodes: dict[int, Node] = {}
    properties: dict[str, IDset] = {}
    starttime: float = 0.0
    expiration: float = 0.0
    nslots: int | None = None
    scheduling: dict[str, Any] | None = None


def decode(r: str | bytes | Mapping[str, Any]) -> Rv1:
    """Read an R, text or decoded.  ValueError names the field that is wrong."""
    top = _object(_load(r) if isinstance(r, str | bytes) else r, "R")
    if top.get("version") != 1:
        raise ValueError(f"R: expected version 1, got {top.get('version')!r}")
    execution = _object(top.get("execution"), "R execution")
    rv1 = Rv1(_read_nodes(_array(execution.get("R_lite"), "R_lite")))
    _read_hosts(rv1.nodes, execution.get("nodelist", []))
    rv1.properties = _read_properties(rv1.nodes, execution.get("properties", {}))
    rv1.starttime = seconds(execution.get("starttime", 0), "R starttime")
    rv1.expiration = seconds(execution.get("expiration", 0), "R expiration")
    rv1.nslots = _positive(execution["nslots"], "R nslots") if "nslots" in execution else None
    rv1.scheduling = dict(_object(top["scheduling"], "R scheduling")) if "scheduling" in top else None
    return rv1


def encode(rv1: Rv1) -> dict[str, Any]:
    """Write an R, ranks with the same children in one entry."""
    execution: dict[str, Any] = {
        "R_lite": [
            {"rank": str(ranks), "children": {name: str(ids) for name, ids in children.items()}}
            for ranks, children in grouped(rv1.nodes)
        ],
        "starttime": rv1.starttime,
        "expiration": rv1.expiration,
    }
    if all(node.hostname is not None for node in rv1.nodes.values()) and rv1.nodes:
        execution["nodelist"] = [str(hosts(rv1.nodes))]
    if rv1.properties:
        execution["properties"] = {name: str(ranks) for name, ranks in rv1.properties.items()}
    if rv1.nslots is not None:
        execution["nslots"] = rv1.nslots
    r = {"version": 1, "execution": execution}
    return r if rv1.scheduling is None else r | {"scheduling": rv1.scheduling}


def hosts(nodes: Mapping[int, Node]) -> Hostlist:
    """The known host names, in the order of their ranks."""
    return Hostlist([nodes[rank].hostname or "" for rank in sorted(nodes)])


def grouped(nodes: Mapping[int, Node]) -> Iterator[tuple[IDset, Children]]:
    """Yield (ranks, children) for each set of ranks with the same children, by lowest rank."""
    groups: dict[tuple[tuple[str, str], ...], tuple[list[int], Children]] = {}
    for rank in sorted(nodes):
        children = ordered(nodes[rank].children)
        key = tuple((name, str(ids)) for name, ids in children.items())
        groups.setdefault(key, ([], children))[0].append(rank)
    return ((IDset(ranks), children) for ranks, children in groups.values())


def ordered(children: Children) -> Children:
    """Cores first, then GPUs, then the rest by name."""
    return {name: children[name] for name in sorted(children, key=lambda n: (n != "core", n != "gpu", n))}


def check_property(name: str) -> str:
    """Return ``name``; ValueError when RFC 20 forbids a character in it."""
    illegal = sorted(_ILLEGAL_IN_PROPERTY & set(name))
    if not name or illegal:
        what = f"must not contain {' '.join(illegal)}" if name else "must not be empty"
        raise ValueError(f"resource property '{name}' {what}")
    return name


def seconds(value: Any, where: str) -> float:
    """Return ``value`` as a point of time; ValueError naming ``where`` when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{where}: expected seconds since the epoch >= 0, got {value!r:.60}")
    return float(value)


def _load(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"R is not JSON: {e}") from None


def _read_nodes(entries: Iterable[Any]) -> dict[int, Node]:
    nodes: dict[int, Node] = {}
    for i, entry in enumerate(entries):
        where = f"R_lite[{i}]"
        ranks = _idset(_object(entry, where).get("rank"), f"{where}.rank")
        if len(nodes) + ranks.count() > MAX_RANKS:
            raise ValueError(f"{where}.rank: more than {MAX_RANKS} ranks")
        children = _object(entry.get("children"), f"{where}.children")
        held = {name: _idset(ids, f"{where}.children.{name}") for name, ids in children.items()}
        held = {name: ids for name, ids in held.items() if ids}
        if not held:
            raise ValueError(f"{where}.children: no cores")
        for rank in ranks:
            _merge(nodes.setdefault(rank, Node({})).children, held)
    return nodes


def _merge(children: Children, more: Children) -> None:
    for name, ids in more.items():
        children[name] = children[name] | ids if name in children else ids.copy()


def _read_hosts(nodes: dict[int, Node], nodelist: Any) -> None:
    names = Hostlist(_array(nodelist, "R nodelist"))
    if not names:
        return
    if len(names) != len(nodes):
        raise ValueError(f"R nodelist: {len(names)} hosts for {len(nodes)} ranks")
    for rank, hostname in zip(sorted(nodes), names, strict=True):
        nodes[rank].hostname = hostname


def _read_properties(nodes: Mapping[int, Node], properties: Any) -> dict[str, IDset]:
    result: dict[str, IDset] = {}
    all_ranks = IDset(nodes)
    for name, text in _object(properties, "R properties").items():
        ranks = _idset(text, f"R property '{check_property(name)}'")
        if not ranks.issubset(all_ranks):
            raise ValueError(f"R property '{name}': ranks {ranks - all_ranks} are not in R_lite")
        result[name] = ranks
    return result


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected an object, got {value!r:.60}")
    return value


def _array(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected an array, got {value!r:.60}")
    return value


def _idset(value: Any, where: str) -> IDset:
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected an idset string, got {value!r:.60}")
    try:
        return IDset(value)
    except ValueError as e:
        raise ValueError(f"{where}: {e}") from None


def _positive(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where}: expected an integer > 0, got {value!r:.60}")
    return value
