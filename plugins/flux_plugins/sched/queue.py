"""Jobs that wait for resources, highest priority first."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from flux.allocation.request import ResourceRequest

__all__ = ["Pending", "Queue"]


class Pending:
    """A job that waits. msg: its alloc request, to be answered. told: the annotations it has from here."""

    __slots__ = ("id", "msg", "priority", "request", "t_submit", "told")

    def __init__(self, id: int, priority: int, t_submit: float, request: ResourceRequest, msg: Any) -> None:
        self.id = id
        self.priority = priority
        self.t_submit = t_submit
        self.request = request
        self.msg = msg
        self.told: dict[str, Any] = {}


class Queue:
    """By priority, then by submission time, then by id; entries that are out of date are dropped when met."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int]] = []
        self._jobs: dict[int, Pending] = {}

    def add(self, job: Pending) -> None:
        """Add a job, in place of another one of the same id."""
        self._jobs[job.id] = job
        heapq.heappush(self._heap, (-job.priority, job.t_submit, job.id))

    def first(self) -> Pending | None:
        """The job that is next; it stays in the queue."""
        while self._heap:
            priority, _, jobid = self._heap[0]
            job = self._jobs.get(jobid)
            if job is not None and job.priority == -priority:
                return job
            heapq.heappop(self._heap)
        return None

    def head(self, count: int) -> list[Pending]:
        """The first jobs in their order, at most count; they stay in the queue."""
        entries, jobs = [], []
        while len(jobs) < count and (job := self.first()) is not None:
            entry = heapq.heappop(self._heap)
            if not entries or entry != entries[-1]:
                entries.append(entry)
                jobs.append(job)
        for entry in entries:
            heapq.heappush(self._heap, entry)
        return jobs

    def remove(self, jobid: int) -> Pending | None:
        """Take a job out; None when it does not wait."""
        return self._jobs.pop(jobid, None)

    def prioritize(self, jobid: int, priority: int) -> None:
        """A waiting job has another priority; one that does not wait is passed over."""
        job = self._jobs.get(jobid)
        if job is not None and job.priority != priority:
            job.priority = priority
            heapq.heappush(self._heap, (-priority, job.t_submit, jobid))

    def __contains__(self, jobid: int) -> bool:
        return jobid in self._jobs

    def __iter__(self) -> Iterator[Pending]:
        """All jobs, in no order."""
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)
