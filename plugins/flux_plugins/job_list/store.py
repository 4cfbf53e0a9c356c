"""All jobs, in the order in which they are listed: pending, running, inactive (RFC 43). No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from flux.constants import (
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_NEW,
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
        self._sorted: list[ListedJob] | None = None

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
        self._sorted = None
        for event in entry["events"]:
            self._apply_event(job, event)
        return job

    def _apply_event(self, job: ListedJob, event: Mapping[str, Any]) -> None:
        old = job.state
        job.apply(event)
        if job.state == old:
            return
        self.stats.moved(job, old)
        if job.state == FLUX_JOB_STATE_INACTIVE:
            self.pending.pop(job.id, None)
            self.running.pop(job.id, None)
            self.inactive[job.id] = job
        elif job.state & FLUX_JOB_STATE_RUNNING and not old & FLUX_JOB_STATE_RUNNING:
            self._leave_pending(job)

    def _leave_pending(self, job: ListedJob) -> None:
        """Jobs that end without ever running are listed among the running while they are cleaned up."""
        del self.pending[job.id]
        self.running[job.id] = job

    def purge(self, jobid: int) -> None:
        """An inactive job was removed from the instance; others are passed over."""
        job = self.inactive.pop(jobid, None)
        if job is not None:
            self.stats.purged(job)

    # -- queries

    def _by_priority(self) -> list[ListedJob]:
        if self._sorted is None:
            self._sorted = sorted(self.pending.values(), key=lambda job: (-job.priority, job.t_submit, job.id))
        return self._sorted

    def select(self, match: Match, max_entries: int = 0, since: float = 0.0) -> Iterator[ListedJob]:
        """Jobs that match: pending by priority, running and inactive the latest first.

        Args:
            max_entries: 0 for no limit. since: leave out jobs that were inactive before this time.
        """
        found = 0
        for job in chain(self._by_priority(), reversed(self.running.values()), self._inactive_since(since)):
            if job.state != FLUX_JOB_STATE_NEW and match(job):
                yield job
                found += 1
                if found == max_entries:
                    return

    def _inactive_since(self, since: float) -> Iterator[ListedJob]:
        for job in reversed(self.inactive.values()):
            if job.fields["t_inactive"] <= since:
                return
            yield job
