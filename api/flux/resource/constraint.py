"""Job constraints: which ranks satisfy one (RFC 31: properties, hostlist, ranks, not, and, or)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce

from flux.hostlist import Hostlist
from flux.idset import IDset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Inventory", "check_constraint", "match_ranks", "named_hosts"]

_MAX_DEPTH = 64
_NO_PROPERTY = set("!&'\"`|()")


class Inventory:
    """What constraints are about: the ranks, the host name of each, and the ranks of each property."""

    def __init__(self, hosts: Mapping[int, str | None], properties: Mapping[str, IDset]) -> None:
        self.ranks = IDset(hosts)
        self.properties = properties
        self.by_host: dict[str, list[int]] = {}
        for rank, host in hosts.items():
            if host is not None:
                self.by_host.setdefault(host, []).append(rank)


def match_ranks(inventory: Inventory, constraint: Any) -> IDset:
    """Return the ranks that satisfy ``constraint``.  ValueError names what is wrong in it."""
    return _match(inventory, constraint, 0)


def check_constraint(constraint: Any) -> None:
    """Raise ValueError naming what is wrong in ``constraint``, whatever it is about."""
    match_ranks(Inventory({}, {}), constraint)


def named_hosts(constraint: Mapping[str, Any]) -> Iterator[str]:
    """Yield the hosts that a well-formed ``constraint`` names, also those that it excludes."""
    for op, values in constraint.items():
        if op in _COMBINERS:
            for value in values:
                yield from named_hosts(value)
        elif op == "hostlist":
            yield from Hostlist(values)


def _match(inventory: Inventory, constraint: Any, depth: int) -> IDset:
    if not isinstance(constraint, Mapping):
        raise ValueError(f"constraint: expected an object, got {constraint!r:.60}")
    if depth > _MAX_DEPTH:
        raise ValueError(f"constraint: nested more than {_MAX_DEPTH} deep")
    return _all(inventory, (_operator(inventory, op, values, depth) for op, values in constraint.items()))


def _operator(inventory: Inventory, op: str, values: Any, depth: int) -> IDset:
    if not isinstance(values, list):
        raise ValueError(f"constraint operator '{op}': expected an array, got {values!r:.60}")
    if op in _COMBINERS:
        return _COMBINERS[op](inventory, [_match(inventory, value, depth + 1) for value in values])
    if op not in _LEAVES:
        known = ", ".join([*_LEAVES, *_COMBINERS])
        raise ValueError(f"unknown constraint operator '{op}', expected one of {known}")
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"constraint operator '{op}': expected strings, got {value!r:.60}")
    return _LEAVES[op](inventory, values)


def _all(inventory: Inventory, sets: Iterable[IDset]) -> IDset:
    return reduce(IDset.intersect, sets, inventory.ranks.copy())


def _any(inventory: Inventory, sets: list[IDset]) -> IDset:
    return IDset().union(*sets) if sets else inventory.ranks.copy()


def _not(inventory: Inventory, sets: list[IDset]) -> IDset:
    return inventory.ranks - _all(inventory, sets)


def _properties(inventory: Inventory, names: list[str]) -> IDset:
    return _all(inventory, (_property(inventory, name) for name in names))


def _property(inventory: Inventory, name: str) -> IDset:
    wrong = _NO_PROPERTY.intersection(name)
    if wrong:
        raise ValueError(f"property '{name}' contains {' '.join(sorted(wrong))}")
    if name.startswith("^"):
        return inventory.ranks - inventory.properties.get(name[1:], IDset())
    return inventory.properties.get(name, IDset())


def _hostlist(inventory: Inventory, lists: list[str]) -> IDset:
    return IDset(rank for host in Hostlist(lists) for rank in inventory.by_host.get(host, ()))


def _ranks(inventory: Inventory, idsets: list[str]) -> IDset:
    return inventory.ranks & IDset().union(*idsets)


_LEAVES: dict[str, Callable[[Inventory, list[str]], IDset]] = {
    "properties": _properties,
    "hostlist": _hostlist,
    "ranks": _ranks,
}
_COMBINERS: dict[str, Callable[[Inventory, list[IDset]], IDset]] = {"and": _all, "or": _any, "not": _not}
