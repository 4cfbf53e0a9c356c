"""Numbers of jobs by state and result (RFC 43; manual page ``flux.job.stats``)."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle
    from flux.rpc import RPC

__all__ = ["JobStats"]


class JobStats:
    """Counts of jobs, all 0 until an update.

    Attributes:
        depend, priority, sched, run, cleanup, inactive: jobs in that state.
        successful, failed, canceled, timeout: inactive jobs with that result; failed includes the last two.
        inactive_purged: inactive jobs that were purged.
        total: jobs in any state.
        pending: depend, priority and sched. running: run and cleanup. active: all but inactive.
        queues: the counts of each queue, as job-list gives them.
    """

    _STATES = ("depend", "priority", "sched", "run", "cleanup", "inactive")
    _RESULTS = ("successful", "failed", "canceled", "timeout", "inactive_purged")

    def __init__(self, handle: Handle, queue: str | None = None) -> None:
        self.handle = handle
        self.queue = queue
        self.queues: list[dict[str, Any]] = []
        self._set({})

    def _set(self, answer: dict[str, Any]) -> None:
        counts = answer
        self.queues = answer.get("queues", [])
        if answer and self.queue is not None:
            counts = self._of_queue(self.queue)
        states = counts.get("job_states", {})
        self.depend, self.priority, self.sched, self.run, self.cleanup, self.inactive = (
            int(states.get(name, 0)) for name in self._STATES
        )
        self.successful, self.failed, self.canceled, self.timeout, self.inactive_purged = (
            int(counts.get(name, 0)) for name in self._RESULTS
        )
        self.failed += self.canceled + self.timeout
        self.pending = self.depend + self.priority + self.sched
        self.running = self.run + self.cleanup
        self.active = self.pending + self.running
        self.total = self.active + self.inactive

    def _of_queue(self, name: str) -> dict[str, Any]:
        for queue in self.queues:
            if queue["name"] == name:
                return queue
        raise ValueError(f"no stats available for queue {name}")

    def update(self, callback: Callable[..., Any] | None = None, **kwargs: Any) -> RPC:
        """Fetch the counts while the reactor runs, then call callback(stats, **kwargs)."""

        def updated(future: RPC) -> None:
            self._set(future.get())
            if callback is not None:
                callback(self, **kwargs)

        rpc = self.handle.rpc("job-list.job-stats", {})
        rpc.then(updated)
        return rpc

    def update_sync(self) -> None:
        """Fetch the counts, blocking. ValueError when no job has ever been in the queue."""
        self._set(self.handle.rpc("job-list.job-stats", {}).get())
