"""The resources of the instance and who holds which: first fit by core, without I/O.

Cores and GPUs of a rank are bit masks. A rank is used only while it is up; what is allocated on it stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flux.idset import IDset
from flux.resource import ResourceSet
from flux.resource.constraint import Inventory, match_ranks
from flux_plugins.sched_simple.masks import lowest, mask_of
from flux_plugins.sched_simple.request import ResourceRequest

__all__ = ["Allocation", "Node", "Pool", "Unsatisfiable"]

Allocation = dict[int, tuple[int, int]]
"""Rank to masks of (cores, GPUs)."""


_MAX_SHAPES = 4096  # kinds of request that are remembered to be satisfiable


class Unsatisfiable(Exception):
    """More was asked for than there is, or than can ever match; the text says what and how much there is."""


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


class Pool:
    """An inventory and its allocations.

    Args:
        R: the instance's resource set (RFC 20). ValueError when it is wrong.
    """

    def __init__(self, R: Mapping[str, Any]) -> None:
        resources = ResourceSet(R)
        rlist = resources.rlist
        self.expiration = resources.expiration
        self.properties = rlist.get_properties()
        hosts = list(rlist.nodelist())
        self.nodes: dict[int, Node] = {}
        for i, rank in enumerate(sorted(rlist.ranks())):
            children = {name: mask_of(str(ids)) for name, ids in rlist.children(rank).items()}
            self.nodes[rank] = Node(rank, hosts[i], children.get("core", 0), children.get("gpu", 0))
        self.jobs: dict[int, Allocation] = {}
        self._satisfiable: set[tuple[int, int, int, int]] = set()

    # -- what there is

    def _inventory(self) -> Inventory:
        return Inventory({rank: node.host for rank, node in self.nodes.items()}, self.properties)

    def candidates(self, constraint: Mapping[str, Any] | None) -> list[Node]:
        """The nodes, up or not, that satisfy an RFC 31 constraint. Unsatisfiable when it is malformed."""
        if constraint is None:
            return list(self.nodes.values())
        try:
            ranks = match_ranks(self._inventory(), constraint)
        except (ValueError, TypeError) as exc:
            raise Unsatisfiable(f"unsatisfiable request: {exc}") from None
        return [self.nodes[rank] for rank in ranks]

    def set_up(self, ranks: Iterable[int], up: bool) -> None:
        """Ranks came up or went down; those not in the pool are passed over."""
        for rank in ranks:
            if rank in self.nodes:
                self.nodes[rank].up = up

    def remove(self, ranks: Iterable[int]) -> None:
        """Ranks have left the instance for good (RFC 28 shrink)."""
        for rank in ranks:
            self.nodes.pop(rank, None)
            self._satisfiable.clear()

    def change_property(self, name: str, ranks: IDset, add: bool) -> None:
        """Give ranks a property, or take it away (RFC 28 property-add, property-remove)."""
        old = self.properties.get(name, IDset())
        self.properties[name] = old | ranks if add else old - ranks

    # -- allocation

    def check(self, request: ResourceRequest) -> None:
        """Raise Unsatisfiable when the request could not be met even by an idle, complete instance."""
        shape = (request.nnodes, request.slots, request.cores, request.gpus)
        if request.constraint is None and shape in self._satisfiable:
            return
        self._check(request)
        if request.constraint is None and len(self._satisfiable) < _MAX_SHAPES:
            self._satisfiable.add(shape)

    def _check(self, request: ResourceRequest) -> None:
        nodes = self.candidates(request.constraint)
        where = "the instance has" if request.constraint is None else "those that match the constraint have"
        if request.nnodes:
            _check_nodes(request, nodes, where)
        else:
            _check_slots(request, nodes, where)

    def allocate(self, jobid: int, request: ResourceRequest) -> Allocation | None:
        """Allocate first fit, lowest rank and core first; None when not now. ValueError for a job that has some."""
        if jobid in self.jobs:
            raise ValueError(f"job {jobid} has an allocation already")
        nodes = self.nodes.values() if request.constraint is None else self.candidates(request.constraint)
        up = (node for node in nodes if node.up)
        chosen = _choose_nodes(up, request) if request.nnodes else _choose_slots(up, request)
        if chosen is not None:
            self._take(chosen)
            self.jobs[jobid] = chosen
        return chosen

    def claim(self, jobid: int, R: Mapping[str, Any], freed: IDset | None = None) -> Allocation:
        """Mark what a running job holds (RFC 27 hello).

        Args:
            freed: ranks of R that the job has given back already.

        ValueError when some of it is unknown or held by another job; nothing is changed then.
        """
        allocation = {rank: masks for rank, masks in _read(R).items() if freed is None or rank not in freed}
        for rank, (cores, gpus) in allocation.items():
            node = self.nodes.get(rank)
            if node is None or cores & ~node.free_cores or gpus & ~node.free_gpus:
                raise ValueError(f"resources of job {jobid} on rank {rank} do not exist or are taken")
        self._take(allocation)
        self.jobs[jobid] = allocation
        return allocation

    def free(self, jobid: int, ranks: Iterable[int] | None = None) -> None:
        """Take back what a job holds on ranks, by default on all. ValueError when it holds nothing there."""
        allocation = self.jobs.get(jobid)
        if allocation is None:
            raise ValueError(f"job {jobid} has no allocation")
        for rank in list(allocation) if ranks is None else ranks:
            if rank not in allocation:
                raise ValueError(f"job {jobid} holds nothing on rank {rank}")
            cores, gpus = allocation.pop(rank)
            node = self.nodes.get(rank)
            if node is not None:
                node.free_cores |= cores
                node.free_gpus |= gpus
        if not allocation:
            del self.jobs[jobid]

    def _take(self, allocation: Allocation) -> None:
        for rank, (cores, gpus) in allocation.items():
            node = self.nodes[rank]
            node.free_cores &= ~cores
            node.free_gpus &= ~gpus

    # -- for reports

    def all(self) -> Allocation:
        return {rank: (node.cores, node.gpus) for rank, node in self.nodes.items()}

    def down(self) -> Allocation:
        return {rank: (node.cores, node.gpus) for rank, node in self.nodes.items() if not node.up}

    def allocated(self) -> Allocation:
        return {
            rank: (node.cores & ~node.free_cores, node.gpus & ~node.free_gpus)
            for rank, node in self.nodes.items()
            if not node.idle
        }


def _fit(cores: int, gpus: int, request: ResourceRequest) -> int:
    """How many slots fit into masks of free cores and GPUs."""
    slots = cores.bit_count() // request.cores
    return min(slots, gpus.bit_count() // request.gpus) if request.gpus else slots


def _slots_of(node: Node, slots: int, request: ResourceRequest) -> tuple[int, int]:
    gpus = lowest(node.free_gpus, slots * request.gpus) if request.gpus else 0
    return lowest(node.free_cores, slots * request.cores), gpus


def _choose_slots(nodes: Iterator[Node], request: ResourceRequest) -> Allocation | None:
    chosen: Allocation = {}
    left = request.slots
    for node in nodes:
        slots = min(left, _fit(node.free_cores, node.free_gpus, request)) if node.free_cores else 0
        if slots:
            chosen[node.rank] = _slots_of(node, slots, request)
            left -= slots
            if not left:
                return chosen
    return None


def _choose_nodes(nodes: Iterator[Node], request: ResourceRequest) -> Allocation | None:
    chosen: Allocation = {}
    for node in nodes:
        if _fit(node.free_cores, node.free_gpus, request) < request.slots:
            continue
        if not request.exclusive:
            chosen[node.rank] = _slots_of(node, request.slots, request)
        elif node.idle:
            chosen[node.rank] = (node.cores, node.gpus)
        if len(chosen) == request.nnodes:
            return chosen
    return None


def _check_slots(request: ResourceRequest, nodes: list[Node], where: str) -> None:
    fitting = sum(_fit(node.cores, node.gpus, request) for node in nodes)
    if fitting >= request.slots:
        return
    room = "" if _simple(request) else f"room for {fitting}: "
    raise Unsatisfiable(f"unsatisfiable request: {_asked(request)} asked, {where} {room}{_total(nodes, request)}")


def _check_nodes(request: ResourceRequest, nodes: list[Node], where: str) -> None:
    if len(nodes) < request.nnodes:
        raise Unsatisfiable(f"unsatisfiable request: {_plural(request.nnodes, 'node')} asked, {where} {len(nodes)}")
    fitting = sum(_fit(node.cores, node.gpus, request) >= request.slots for node in nodes)
    if fitting < request.nnodes:
        raise Unsatisfiable(
            f"unsatisfiable request: {_plural(request.nnodes, 'node')} with {_asked(request)} each asked, "
            f"{where} {fitting} such: {_total(nodes, request)} in all"
        )


def _simple(request: ResourceRequest) -> bool:
    return (request.cores, request.gpus) == (1, 0)


def _asked(request: ResourceRequest) -> str:
    if _simple(request):
        return _plural(request.slots, "core")
    return f"{_plural(request.slots, 'slot')} of {_amount(request.cores, request.gpus, request.gpus > 0)}"


def _total(nodes: list[Node], request: ResourceRequest) -> str:
    cores = sum(node.cores.bit_count() for node in nodes)
    gpus = sum(node.gpus.bit_count() for node in nodes)
    return f"{_amount(cores, gpus, request.gpus > 0)} on {_plural(len(nodes), 'node')}"


def _amount(cores: int, gpus: int, with_gpus: bool) -> str:
    return _plural(cores, "core") + (f" and {_plural(gpus, 'gpu')}" if with_gpus else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _read(R: Mapping[str, Any]) -> Allocation:
    allocation: Allocation = {}
    for entry in R["execution"]["R_lite"]:
        children = entry["children"]
        masks = mask_of(children.get("core", "")), mask_of(children.get("gpu", ""))
        for rank in IDset(entry["rank"]):
            cores, gpus = allocation.get(rank, (0, 0))
            allocation[rank] = cores | masks[0], gpus | masks[1]
    return allocation
