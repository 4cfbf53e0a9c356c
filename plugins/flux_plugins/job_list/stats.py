"""How many jobs are in which state and ended how, in all and by queue (job-list.job-stats)."""

from __future__ import annotations

from typing import Any

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_DEPEND,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_SCHED,
)
from flux_plugins.job_list.job import ListedJob

__all__ = ["Statistics"]

_STATES = {
    FLUX_JOB_STATE_DEPEND: "depend",
    FLUX_JOB_STATE_PRIORITY: "priority",
    FLUX_JOB_STATE_SCHED: "sched",
    FLUX_JOB_STATE_RUN: "run",
    FLUX_JOB_STATE_CLEANUP: "cleanup",
    FLUX_JOB_STATE_INACTIVE: "inactive",
}
_RESULTS = {
    FLUX_JOB_RESULT_COMPLETED: "successful",
    FLUX_JOB_RESULT_FAILED: "failed",
    FLUX_JOB_RESULT_CANCELED: "canceled",
    FLUX_JOB_RESULT_TIMEOUT: "timeout",
}


class _Counts:
    def __init__(self) -> None:
        self.states = dict.fromkeys(_STATES, 0)
        self.results = dict.fromkeys(_RESULTS.values(), 0)
        self.purged = 0

    def count(self, state: int, change: int) -> None:
        if state in self.states:
            self.states[state] += change

    def count_result(self, result: int, change: int) -> None:
        """`failed` is what is neither canceled nor timed out: clients add these to it."""
        self.results[_RESULTS[result]] += change

    def encode(self) -> dict[str, Any]:
        states = {name: self.states[state] for state, name in _STATES.items()}
        states["total"] = sum(self.states.values())
        return {"job_states": states, **self.results, "inactive_purged": self.purged}


class Statistics:
    """Counts that follow each job from state to state."""

    def __init__(self) -> None:
        self._all = _Counts()
        self._queues: dict[str, _Counts] = {}

    def _of(self, job: ListedJob) -> list[_Counts]:
        queue = job.fields.get("queue")
        return [self._all] if queue is None else [self._all, self._queues.setdefault(queue, _Counts())]

    def moved(self, job: ListedJob, old_state: int) -> None:
        """A job has left old_state for the one it is in."""
        for counts in self._of(job):
            counts.count(old_state, -1)
            counts.count(job.state, 1)
            if job.state == FLUX_JOB_STATE_INACTIVE:
                counts.count_result(job.result, 1)

    def purged(self, job: ListedJob) -> None:
        """An inactive job was forgotten."""
        for counts in self._of(job):
            counts.count(job.state, -1)
            counts.count_result(job.result, -1)
            counts.purged += 1

    def encode(self) -> dict[str, Any]:
        """The response of job-stats."""
        queues = [{"name": name, **counts.encode()} for name, counts in sorted(self._queues.items())]
        return {**self._all.encode(), "queues": queues}
