"""When resources are free: what jobs hold until they end, and what others are promised from a time on. No I/O."""

from __future__ import annotations

import math
from typing import NamedTuple

from flux_plugins.sched.node import Allocation, Fit, Node, choose
from flux_plugins.sched.pool import Pool
from flux_plugins.sched.request import ResourceRequest

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

    def held(self, now: float) -> int:
        """Cores that are used from now to the end."""
        return self.cores if self.start <= now else 0


class Timeline:
    """The nodes of a pool that are up, from now on."""

    def __init__(self, pool: Pool, now: float, fit: Fit = "first-fit") -> None:
        self._pool = pool
        self._fit: Fit = fit
        self._now = now
        self._up = [node for node in pool.nodes.values() if node.up]
        self._ranks = {node.rank for node in self._up}
        self._cores = sum(node.cores.bit_count() for node in self._up)
        self._uses: list[_Use] = []
        for jobid, allocation in pool.jobs.items():
            self.use(now, max(pool.ends.get(jobid, math.inf), now + OVERDUE), allocation)

    def use(self, start: float, end: float, allocation: Allocation) -> None:
        """Somebody has these resources in that time; end may be infinite."""
        cores = sum(masks[0].bit_count() for rank, masks in allocation.items() if rank in self._ranks)
        self._uses.append(_Use(start, end, cores, allocation))

    def find(self, request: ResourceRequest, duration: float, earliest: float = 0.0) -> Slot | None:
        """The first time that a request can be met for so long; None when no known end makes room for it.

        Args:
            duration: seconds; may be infinite. earliest: not before then, in seconds since the epoch.
        """
        needed = request.cores * request.nslots
        begin = max(self._now, earliest)
        held = sum(use.held(self._now) for use in self._uses if use.end > begin)
        ends = [(begin, 0), *sorted((use.end, use.held(self._now)) for use in self._uses if use.end > begin)]
        for start, given_back in ends:
            held -= given_back
            if start < math.inf and self._cores - held >= needed:
                found = self._find_at(start, request, duration)
                if found is not None:
                    return found
        return None

    def find_now(self, request: ResourceRequest, duration: float) -> Slot | None:
        """The same if it can be met at once; else None."""
        return self._find_at(self._now, request, duration)

    def _find_at(self, start: float, request: ResourceRequest, duration: float) -> Slot | None:
        end = start + duration
        uses = [use for use in self._uses if use.start < end and use.end > start]
        if self._cores - _most(uses) < request.cores * request.nslots:
            return None
        nodes = self._free(uses)
        if request.constraint is not None:
            wanted = {node.rank for node in self._pool.candidates(request.constraint)}
            nodes = [node for node in nodes if node.rank in wanted]
        allocation = choose(nodes, request, self._fit)
        return None if allocation is None else Slot(start, allocation)

    def _free(self, uses: list[_Use]) -> list[Node]:
        nodes = {node.rank: node.emptied() for node in self._up}
        for use in uses:
            for rank, (cores, gpus) in use.allocation.items():
                node = nodes.get(rank)
                if node is not None:
                    node.free_cores &= ~cores
                    node.free_gpus &= ~gpus
        return list(nodes.values())


def _most(uses: list[_Use]) -> int:
    """Cores that are surely used at some moment: those of uses that have all begun when the first of them do."""
    first = min((use.start for use in uses), default=0.0)
    return sum(use.cores for use in uses if use.start == first)
