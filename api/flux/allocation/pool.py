"""The resources of the instance and who holds which, until when; without I/O.

Cores and GPUs of a rank are bit masks. A rank is used only while it is up; what is allocated on it stays so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flux.allocation.masks import mask_of
from flux.allocation.node import Allocation, Fit, Node, choose
from flux.allocation.request import ResourceRequest
from flux.allocation.shortage import Unsatisfiable, check
from flux.idset import IDset
from flux.resource import ResourceSet
from flux.resource.constraint import Inventory, match_ranks

__all__ = ["Allocation", "Node", "Pool", "Unsatisfiable"]

_MAX_SHAPES = 4096  # kinds of request that are remembered to be satisfiable


class Pool:
    """An inventory and its allocations.

    Args:
        R: the instance's resource set (RFC 20). ValueError when it is wrong.

    Attributes:
        jobs: what each job holds. ends: when it gives that back at the latest, in seconds since the epoch; jobs
            without a time limit have none. expiration: when the resources go away; 0 for never.
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
        self.ends: dict[int, float] = {}
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

    def has_free(self) -> bool:
        """Whether any core could be allocated now."""
        return any(node.free_cores and node.up for node in self.nodes.values())

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
        check(request, self.candidates(request.constraint))
        if request.constraint is None and len(self._satisfiable) < _MAX_SHAPES:
            self._satisfiable.add(shape)

    def allocate(self, jobid: int, request: ResourceRequest, fit: Fit = "first-fit") -> Allocation | None:
        """Allocate what is free now; None when that is not enough. ValueError for a job that has some."""
        nodes = self.nodes.values() if request.constraint is None else self.candidates(request.constraint)
        chosen = choose((node for node in nodes if node.up), request, fit)
        if chosen is not None:
            self.take(jobid, chosen)
        return chosen

    def take(self, jobid: int, allocation: Allocation) -> None:
        """Allocate this, which is free. ValueError for a job that has some."""
        if jobid in self.jobs:
            raise ValueError(f"job {jobid} has an allocation already")
        for rank, (cores, gpus) in allocation.items():
            node = self.nodes.get(rank)
            if node is not None:
                node.free_cores &= ~cores
                node.free_gpus &= ~gpus
        self.jobs[jobid] = allocation

    def set_end(self, jobid: int, end: float) -> None:
        """A job gives its resources back then, in seconds since the epoch; 0 for when it likes."""
        if end:
            self.ends[jobid] = end
        else:
            self.ends.pop(jobid, None)

    def claim(self, jobid: int, R: Mapping[str, Any], freed: IDset | None = None) -> str:
        """Mark what a running job holds (RFC 27 hello), as far as it is there and nobody else's.

        Args:
            freed: ranks of R that the job has given back already.

        Returns:
            What of it could not be marked, as a text; "" when all was. ValueError when R cannot be read.
        """
        if jobid in self.jobs:
            raise ValueError(f"job {jobid} has an allocation already")
        wrong = IDset()
        allocation: Allocation = {}
        for rank, (cores, gpus) in _read(R).items():
            if freed is not None and rank in freed:
                continue
            node = self.nodes.get(rank)
            allocation[rank] = (0, 0) if node is None else (cores & node.free_cores, gpus & node.free_gpus)
            if allocation[rank] != (cores, gpus):
                wrong.set(rank)
        self.take(jobid, allocation)
        self.set_end(jobid, R["execution"].get("expiration", 0.0))
        return f"resources on rank {wrong} do not exist or are taken" if wrong else ""

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
            self.ends.pop(jobid, None)

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


def _read(R: Mapping[str, Any]) -> Allocation:
    allocation: Allocation = {}
    try:
        for entry in R["execution"]["R_lite"]:
            children = entry["children"]
            masks = mask_of(children.get("core", "")), mask_of(children.get("gpu", ""))
            for rank in IDset(entry["rank"]):
                cores, gpus = allocation.get(rank, (0, 0))
                allocation[rank] = cores | masks[0], gpus | masks[1]
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"R is none of version 1: {exc!r}") from None
    return allocation
