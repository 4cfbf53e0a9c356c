"""When resources are free: what jobs hold until they end, and what others are promised from a time on. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from flux.allocation.node import Allocation, Fit, Node, choose
from flux.allocation.pool import Pool
from flux.allocation.request import ResourceRequest

__all__ = ["Slot", "Timeline"]

OVERDUE = 10.0
"""Seconds after which a job that has outlived its time limit is taken to be gone."""


class Slot(NamedTuple):
    """Resources from a time on, in seconds since the epoch."""

    start: float
    allocation: Allocation


class _Use(NamedTuple):
    start: float
    end: float
    cores: int
    allocation: Allocation


class Timeline:
    """The nodes of a pool that are up, from now on.

    Attributes:
        effort: nodes and uses that were looked at so far, as a measure of the time that took.
    """

    def __init__(self, pool: Pool, now: float, fit: Fit = "first-fit") -> None:
        self._pool = pool
        self._fit: Fit = fit
        self._now = now
        self.effort = 0
        self._nodes = {rank: node.emptied() for rank, node in pool.nodes.items() if node.up}
        self._free_now = self._cores = sum(node.cores.bit_count() for node in self._nodes.values())
        self._uses: list[_Use] = []
        for jobid, allocation in pool.jobs.items():
            self.use(now, max(pool.ends.get(jobid, math.inf), now + OVERDUE), allocation)

    def use(self, start: float, end: float, allocation: Allocation) -> None:
        """Somebody has these resources in that time; end may be infinite."""
        cores = sum(masks[0].bit_count() for rank, masks in allocation.items() if rank in self._nodes)
        self._uses.append(_Use(start, end, cores, allocation))
        if start <= self._now:
            self._free_now -= cores

    def find(self, request: ResourceRequest, duration: float, earliest: float = 0.0) -> Slot | None:
        """The first time that a request can be met for so long; None when no known end makes room for it.

        Args:
            duration: seconds; may be infinite. earliest: not before then, in seconds since the epoch.
        """
        needed = request.cores * request.nslots
        begin = max(self._now, earliest)
        for start, free in self._free_from(begin):
            if free >= needed:
                found = self._find_at(start, request, duration)
                if found is not None:
                    return found
        return None

    def find_now(self, request: ResourceRequest, duration: float) -> Slot | None:
        """The same if it can be met at once; else None."""
        if self._free_now < request.cores * request.nslots:
            return None
        return self._find_at(self._now, request, duration)

    def _free_from(self, begin: float) -> Iterator[tuple[float, int]]:
        """Free cores at the beginning, and whenever a use ends."""
        changes = [(use.end, use.cores) for use in self._uses if begin < use.end < math.inf]
        changes += [(use.start, -use.cores) for use in self._uses if begin < use.start]
        free = self._cores - sum(use.cores for use in self._uses if use.start <= begin < use.end)
        yield begin, free
        for when, at_once in groupby(sorted(changes), key=itemgetter(0)):
            deltas = [cores for _when, cores in at_once]
            free += sum(deltas)
            if max(deltas) > 0:
                yield when, free

    def _find_at(self, start: float, request: ResourceRequest, duration: float) -> Slot | None:
        end = start + duration
        nodes = self._free([use.allocation for use in self._uses if use.start < end and use.end > start])
        if request.constraint is not None:
            wanted = {node.rank for node in self._pool.candidates(request.constraint)}
            nodes = [node for node in nodes if node.rank in wanted]
        allocation = choose(nodes, request, self._fit)
        return None if allocation is None else Slot(start, allocation)

    def _free(self, used: list[Allocation]) -> list[Node]:
        self.effort += len(self._nodes) + len(used)
        for node in self._nodes.values():
            node.free_cores, node.free_gpus = node.cores, node.gpus
        for allocation in used:
            for rank, (cores, gpus) in allocation.items():
                node = self._nodes.get(rank)
                if node is not None:
                    node.free_cores &= ~cores
                    node.free_gpus &= ~gpus
        return list(self._nodes.values())
