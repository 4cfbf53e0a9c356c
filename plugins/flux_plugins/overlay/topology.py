"""Shape of the broker tree: who is whose parent, and which ranks lie behind whom. Pure.

The shapes are those of the `tbon.topo` broker attribute: kary:K, mincrit[:K], binomial, custom.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from flux.errors import FluxError

__all__ = ["DEFAULT_SHAPE", "Topology"]

DEFAULT_SHAPE = "kary:32"
_MINCRIT_FLAT_SIZE = 1025
_MINCRIT_LEAVES = 1024

Rule = Callable[[int], int]


class Topology:
    """The tree of an instance, given by the parent of each rank.

    Args:
        parents: parent rank by rank; that of rank 0 is ignored.
        shape: how the shape is written in `tbon.topo`.

    Raises:
        FluxError: EINVAL when a rank has no way to rank 0.
    """

    def __init__(self, parents: Sequence[int], shape: str) -> None:
        self.shape = shape
        self.size = len(parents)
        self._parents = list(parents)
        self._children: list[list[int]] = [[] for _ in parents]
        for rank in range(1, self.size):
            self._children[self._checked_parent(rank)].append(rank)
        self._levels = self._measure_levels()

    def _checked_parent(self, rank: int) -> int:
        parent = self._parents[rank]
        if not 0 <= parent < self.size:
            raise FluxError(errno.EINVAL, f"{self.shape}: parent {parent} of rank {rank} is no rank of this instance")
        return parent

    def _measure_levels(self) -> list[int]:
        levels = [-1] * self.size
        levels[0] = 0
        todo = [0]
        while todo:
            rank = todo.pop()
            for child in self._children[rank]:
                levels[child] = levels[rank] + 1
                todo.append(child)
        lost = [rank for rank, level in enumerate(levels) if level < 0]
        if lost:
            raise FluxError(errno.EINVAL, f"{self.shape}: ranks {lost} form a cycle that does not contain rank 0")
        return levels

    @classmethod
    def from_shape(cls, shape: str, size: int, custom: Mapping[int, int] | None = None) -> Topology:
        """The tree that a `tbon.topo` value describes.

        Args:
            shape: "kary:K", "mincrit", "mincrit:K", "binomial" or "custom".
            size: number of brokers.
            custom: parent by rank for "custom"; ranks it does not name are under rank 0.

        Raises:
            FluxError: EINVAL, saying what is wrong with the shape.
        """
        name, _, argument = shape.partition(":")
        make = _RULES.get(name)
        if name == "custom":
            rule = _custom(custom, argument)
        elif make is None:
            raise FluxError(errno.EINVAL, f"unknown topology {shape!r}: use {', '.join([*_RULES, 'custom'])}")
        else:
            rule = make(argument, size)
        return cls([0, *map(rule, range(1, size))], shape)

    def parent(self, rank: int) -> int | None:
        """Parent of a rank; None for rank 0."""
        return self._parents[rank] if rank else None

    def children(self, rank: int) -> list[int]:
        return list(self._children[rank])

    def level(self, rank: int) -> int:
        """Number of hops to rank 0."""
        return self._levels[rank]

    @cached_property
    def maxlevel(self) -> int:
        return max(self._levels)

    def subtree(self, rank: int) -> list[int]:
        """The rank and all ranks below it, in order."""
        found, todo = [], [rank]
        while todo:
            current = todo.pop()
            found.append(current)
            todo.extend(self._children[current])
        return sorted(found)

    def descendants(self, rank: int) -> int:
        """Number of ranks below, the rank itself not counted."""
        return len(self.subtree(rank)) - 1

    def next_hop(self, source: int, target: int) -> int | None:
        """The neighbour of source on the way to target; None when they are the same rank."""
        if source == target:
            return None
        hop = target
        while hop and self._parents[hop] != source:
            hop = self._parents[hop]
        return hop or self._parents[source]

    def as_tree(self, rank: int) -> dict[str, object]:
        """The subtree as `overlay.topology` answers it: rank, size (ranks in it), children."""
        children = [self.as_tree(child) for child in self._children[rank]]
        return {"rank": rank, "size": self.descendants(rank) + 1, "children": children}


def _number(name: str, argument: str) -> int:
    if not argument.isdecimal():
        raise FluxError(errno.EINVAL, f"topology {name}:{argument}: {name} takes a number that is not negative")
    return int(argument)


def _kary(argument: str, _size: int) -> Rule:
    fanout = _number("kary", argument)
    return (lambda rank: (rank - 1) // fanout) if fanout else _flat


def _flat(_rank: int) -> int:
    return 0


def _mincrit(argument: str, size: int) -> Rule:
    routers = _number("mincrit", argument) if argument else _mincrit_routers(size)
    return (lambda rank: 0 if rank <= routers else (rank - routers - 1) % routers + 1) if routers else _flat


def _mincrit_routers(size: int) -> int:
    if size <= _MINCRIT_FLAT_SIZE:
        return 0
    return max(2, math.ceil((size - 1) / (_MINCRIT_LEAVES + 1)))


def _binomial(argument: str, _size: int) -> Rule:
    if argument:
        raise FluxError(errno.EINVAL, f"topology binomial:{argument}: binomial takes no argument")
    return lambda rank: rank & (rank - 1)


def _custom(custom: Mapping[int, int] | None, argument: str) -> Rule:
    if argument or custom is None:
        raise FluxError(errno.EINVAL, "topology custom takes its shape from the hosts of the [bootstrap] configuration")
    if 0 in custom:
        raise FluxError(errno.EINVAL, "topology custom: rank 0 must not have a parent")
    return lambda rank: custom.get(rank, 0)


_RULES: dict[str, Callable[[str, int], Rule]] = {"kary": _kary, "mincrit": _mincrit, "binomial": _binomial}
