"""Nodes as masks of cores and GPUs, and which of them a request gets: first fit, best fit or worst fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from flux.allocation.masks import lowest
from flux.allocation.request import ResourceRequest

__all__ = ["Allocation", "Fit", "Node", "choose", "slots_in"]

Allocation = dict[int, tuple[int, int]]
"""Rank to masks of (cores, GPUs)."""

Fit = Literal["first-fit", "best-fit", "worst-fit"]
"""Which nodes come first: those of the lowest ranks, those with the least free, or those with the most free."""


class Node:
    """One rank: masks of what it has and of what is free, by kind."""

    __slots__ = ("cores", "free_cores", "free_gpus", "gpus", "host", "rank", "up")

    def __init__(self, rank: int, host: str, cores: int, gpus: int) -> None:
        self.rank = rank
        self.host = host
        self.cores = self.free_cores = cores
        self.gpus = self.free_gpus = gpus
        self.up = False

    @property
    def idle(self) -> bool:
        """True when nothing of it is allocated."""
        return self.free_cores == self.cores and self.free_gpus == self.gpus

    def emptied(self) -> Node:
        """The same node with nothing allocated."""
        node = Node(self.rank, self.host, self.cores, self.gpus)
        node.up = self.up
        return node


def choose(nodes: Iterable[Node], request: ResourceRequest, fit: Fit = "first-fit") -> Allocation | None:
    """What the request gets of what is free on nodes, lowest cores first; None when that is not enough."""
    if fit != "first-fit":
        nodes = sorted(nodes, key=_free_gpus_first if request.gpus else _free_cores, reverse=fit == "worst-fit")
    return _choose_nodes(nodes, request) if request.nnodes else _choose_slots(nodes, request)


def slots_in(cores: int, gpus: int, request: ResourceRequest) -> int:
    """How many slots fit into masks of cores and GPUs."""
    slots = cores.bit_count() // request.cores
    return min(slots, gpus.bit_count() // request.gpus) if request.gpus else slots


def _free_cores(node: Node) -> int:
    return node.free_cores.bit_count()


def _free_gpus_first(node: Node) -> tuple[int, int]:
    return node.free_gpus.bit_count(), node.free_cores.bit_count()


def _slots_of(node: Node, slots: int, request: ResourceRequest) -> tuple[int, int]:
    gpus = lowest(node.free_gpus, slots * request.gpus) if request.gpus else 0
    return lowest(node.free_cores, slots * request.cores), gpus


def _choose_slots(nodes: Iterable[Node], request: ResourceRequest) -> Allocation | None:
    chosen: Allocation = {}
    left = request.slots
    for node in nodes:
        slots = min(left, slots_in(node.free_cores, node.free_gpus, request)) if node.free_cores else 0
        if slots:
            chosen[node.rank] = _slots_of(node, slots, request)
            left -= slots
            if not left:
                return chosen
    return None


def _choose_nodes(nodes: Iterable[Node], request: ResourceRequest) -> Allocation | None:
    chosen: Allocation = {}
    for node in nodes:
        if slots_in(node.free_cores, node.free_gpus, request) < request.slots:
            continue
        if not request.exclusive:
            chosen[node.rank] = _slots_of(node, request.slots, request)
        elif node.idle:
            chosen[node.rank] = (node.cores, node.gpus)
        if len(chosen) == request.nnodes:
            return chosen
    return None
