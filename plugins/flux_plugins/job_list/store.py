"""All jobs, in the order in which they are listed: pending, running, inactive (RFC 43). No I/O, no clock."""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from flux.constants import (
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_PENDING,
    FLUX_JOB_STATE_RUNNING,
)
from flux_plugins.job_list.constraint import Match
from flux_plugins.job_list.job import ListedJob
from flux_plugins.job_list.stats import Statistics

__all__ = ["Store"]


class Store:
    """The jobs.

    Attributes:
        pending, running, inactive: id to job; the last two in the order in which jobs got there.
    """

    def __init__(self) -> None:
        self.pending: dict[int, ListedJob] = {}
        self.running: dict[int, ListedJob] = {}
        self.inactive: dict[int, ListedJob] = {}
        self.stats = Statistics()
        self._queue: list[tuple[int, float, int]] = []

    def find(self, jobid: int) -> ListedJob | None:
        """A job by its id."""
        return self.pending.get(jobid) or self.running.get(jobid) or self.inactive.get(jobid)

    def __len__(self) -> int:
        return len(self.pending) + len(self.running) + len(self.inactive)

    # -- journal

    def apply(self, entry: Mapping[str, Any]) -> ListedJob:
        """Take one response of the job manager's journal; gives the job it is about."""
        jobid = entry["id"]
        job = self.find(jobid)
        if job is None:
            job = self.pending[jobid] = ListedJob(jobid)
        if "jobspec" in entry:
            job.set_jobspec(entry["jobspec"])
        if "R" in entry:
            job.set_R(entry["R"])
        for event in entry["events"]:
            self._apply_event(job, event)
        return job

    def _apply_event(self, job: ListedJob, event: Mapping[str, Any]) -> None:
        old, place = job.state, job.order
        job.apply(event)
        if job.state != old:
            self.stats.moved(job, old)
        elif job.order == place:
            return
        if job.id in self.pending:
            self._requeue(job, old, place)
        if job.state == FLUX_JOB_STATE_INACTIVE:
            self.pending.pop(job.id, None)
            self.running.pop(job.id, None)
            self.inactive[job.id] = job
        elif job.state & FLUX_JOB_STATE_RUNNING:
            # so are jobs that end without ever running, while they are cleaned up
            self.pending.pop(job.id, None)
            self.running.setdefault(job.id, job)

    def _requeue(self, job: ListedJob, old: int, place: tuple[int, float, int]) -> None:
        """A job that was pending, or new, was in this state, and in this place of the queue."""
        was, stays = old & FLUX_JOB_STATE_PENDING, job.state & FLUX_JOB_STATE_PENDING
        if was and stays and job.order == place:
            return
        if was:
            del self._queue[bisect_left(self._queue, place)]
        if stays:
            insort(self._queue, job.order)

    def purge(self, jobid: int) -> None:
        """An inactive job was removed from the instance; others are passed over."""
        job = self.inactive.pop(jobid, None)
        if job is not None:
            self.stats.purged(job)

    # -- queries

    def select(self, match: Match, max_entries: int = 0, since: float = 0.0) -> Iterator[ListedJob]:
        """Jobs that match: pending by priority, running and inactive the latest first.

        Args:
            max_entries: 0 for no limit. since: leave out jobs that were inactive before this time.
        """
        return _first(max_entries, filter(match, self._listed(since)))

    def snapshot(self, match: Match, max_entries: int = 0, since: float = 0.0) -> Iterator[ListedJob]:
        """The same of the jobs and the order of now, which may be read while they change."""
        return _first(max_entries, filter(match, list(self._listed(since))))

    def _listed(self, since: float) -> Iterable[ListedJob]:
        return chain(
            (self.pending[jobid] for _, _, jobid in self._queue),
            reversed(self.running.values()),
            self._inactive_since(since),
        )

    def _inactive_since(self, since: float) -> Iterator[ListedJob]:
        for job in reversed(self.inactive.values()):
            if job.fields["t_inactive"] <= since:
                return
            yield job


def _first(count: int, jobs: Iterable[ListedJob]) -> Iterator[ListedJob]:
    return islice(jobs, min(count, sys.maxsize) or None)
