"""The resources that a scheduler manages, and who holds which (`flux.scheduler`)."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from flux.allocation.pool import Allocation, Pool
from flux.allocation.request import ResourceRequest, read_jobspec
from flux.allocation.rset import summary, to_R
from flux.allocation.shortage import Unsatisfiable
from flux.idset import IDset
from flux.resource.ResourceSet import ResourceSet

__all__ = ["Allocated", "InfeasibleRequest", "InsufficientResources", "ResourcePool"]


class InsufficientResources(OSError):
    """A request has to wait until something is given back (ENOSPC)."""

    def __init__(self, text: str = "insufficient resources") -> None:
        super().__init__(errno.ENOSPC, text)

    def __str__(self) -> str:
        return str(self.strerror)


class InfeasibleRequest(OSError):
    """A request can never be met (EOVERFLOW); the text says what was asked and what there is."""

    def __init__(self, text: str = "unsatisfiable request") -> None:
        super().__init__(errno.EOVERFLOW, text)

    def __str__(self) -> str:
        return str(self.strerror)


class Allocated:
    """What a job got. R is RFC 20's."""

    def __init__(self, R: dict[str, Any], text: str) -> None:
        self._R = R
        self._text = text

    def set_starttime(self, starttime: float) -> None:
        """From then on, in seconds since the epoch."""
        self._R["execution"]["starttime"] = starttime

    def set_expiration(self, expiration: float) -> None:
        """Until then; 0 for as long as the job likes."""
        self._R["execution"]["expiration"] = expiration

    @property
    def expiration(self) -> float:
        return float(self._R["execution"]["expiration"])

    def to_dict(self) -> dict[str, Any]:
        return self._R

    def dumps(self) -> str:
        """The short form for people, such as "rank[0-1]/core[0-3]"."""
        return self._text

    def to_resource_set(self) -> ResourceSet:
        return ResourceSet(self._R)


class ResourcePool:
    """An inventory and its allocations.

    Args:
        R: of the instance (RFC 20), an object or JSON. log: called with (level, text), for pools of a site.

    Attributes:
        generation: a number that changes whenever what is there, or up, does.

    Raises:
        ValueError: R is wrong.
    """

    def __init__(self, R: Mapping[str, Any] | str, log: Any = None, **kwargs: Any) -> None:
        found = json.loads(R) if isinstance(R, str) else R
        self.log = log
        self.generation = 0
        self._pool = Pool(found)
        self._scheduling = found.get("scheduling")

    # -- what is there

    def mark_up(self, ids: str) -> None:
        """Ranks came up: an idset string, or "all"."""
        self._mark(ids, True)

    def mark_down(self, ids: str) -> None:
        """Ranks went down."""
        self._mark(ids, False)

    def _mark(self, ids: str, up: bool) -> None:
        self._pool.set_up(self._pool.nodes if ids == "all" else IDset(ids), up)
        self.generation += 1

    def remove_ranks(self, ranks: Any) -> None:
        """Ranks have left for good."""
        self._pool.remove(IDset(ranks))
        self.generation += 1

    def change_property(self, name: str, ranks: Any, add: bool) -> None:
        """Ranks got a property, or lost it."""
        self._pool.change_property(name, IDset(ranks), add)
        self.generation += 1

    @property
    def expiration(self) -> float:
        """When the resources go away, in seconds since the epoch; 0 for never."""
        return self._pool.expiration

    @expiration.setter
    def expiration(self, seconds: float) -> None:
        self._pool.expiration = seconds

    # -- who holds what

    def parse_resource_request(self, jobspec: Mapping[str, Any]) -> ResourceRequest:
        """What `alloc` takes, of a jobspec. InfeasibleRequest says what in it cannot be allocated."""
        try:
            return read_jobspec(jobspec)
        except ValueError as exc:
            raise InfeasibleRequest(str(exc)) from None

    def check_feasibility(self, request: ResourceRequest) -> None:
        """InfeasibleRequest when not even an idle, complete instance could meet it."""
        try:
            self._pool.check(request)
        except Unsatisfiable as exc:
            raise InfeasibleRequest(str(exc)) from None

    def alloc(self, jobid: int, request: ResourceRequest) -> Allocated:
        """Give a job what is free, from now for as long as it asks or the resources last.

        Raises:
            InsufficientResources: it has to wait. InfeasibleRequest: it would wait forever.
        """
        self.check_feasibility(request)
        allocation = self._pool.allocate(jobid, request)
        if allocation is None:
            raise InsufficientResources()
        now = time.time()
        end = min(filter(None, (now + request.duration if request.duration else 0.0, self.expiration)), default=0.0)
        self._pool.set_end(jobid, end)
        return Allocated(self._R_of(allocation, now, end, request.nslots), summary(allocation))

    def _R_of(self, allocation: Allocation, start: float = 0.0, end: float = 0.0, nslots: int = 0) -> dict[str, Any]:
        R = to_R(self._pool, allocation, start, end, nslots)
        return R if self._scheduling is None else {**R, "scheduling": self._scheduling}

    def register_alloc(self, jobid: int, R: ResourceSet) -> None:
        """Mark what a running job holds. ValueError says what of it is not there, or taken; the rest is marked."""
        if problem := self._pool.claim(jobid, R.to_dict()):
            raise ValueError(problem)

    def free(self, jobid: int, R: ResourceSet | None = None, final: bool = False) -> None:
        """Take back what a job holds on the ranks of R; without R, or with final, all. ValueError: it holds nothing."""
        self._pool.free(jobid, None if R is None or final else R.ranks)

    def update_expiration(self, jobid: int, expiration: float) -> None:
        """A job ends then, in seconds since the epoch; 0 for when it likes."""
        self._pool.set_end(jobid, expiration)

    def holds(self, jobid: int) -> bool:
        """True when a job holds something."""
        return jobid in self._pool.jobs

    def job_end_times(self) -> list[tuple[int, float]]:
        """(job id, end) of each job that holds something; 0.0 for an end that nobody knows."""
        return [(jobid, self._pool.ends.get(jobid, 0.0)) for jobid in self._pool.jobs]

    def copy(self) -> ResourcePool:
        """A pool of its own with the same state, to try out what would be."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._pool = deepcopy(self._pool)
        return twin

    # -- for reports

    def to_dict(self) -> dict[str, Any]:
        """All of it as R."""
        return self._R_of(self._pool.all(), end=self.expiration)

    def to_resource_set(self) -> ResourceSet:
        return ResourceSet(self.to_dict())

    def copy_allocated(self) -> dict[str, Any]:
        """What is allocated, as R."""
        return to_R(self._pool, self._pool.allocated())

    def copy_down(self) -> dict[str, Any]:
        """What is down, as R."""
        return to_R(self._pool, self._pool.down())

    def dumps(self) -> str:
        """The short form for people."""
        return summary(self._pool.all())
