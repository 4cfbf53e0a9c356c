"""`job-manager.drain` and `.idle`: waiting until jobs are over (flux-queue(1))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import Message
from flux.module import DEFERRED
from flux_plugins.job_manager.job import RUN

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["IdleWaits"]


class IdleWaits:
    """Who waits for the end of all jobs, and who for the end of those that have resources or had some."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._drain: list[Message] = []
        self._idle: list[Message] = []

    def drain(self, msg: Message) -> Any:
        """Answer when no job is active."""
        self._drain.append(msg)
        self.check()
        return DEFERRED

    def idle(self, msg: Message) -> Any:
        """Answer {pending: jobs left} when no job is running or being cleaned up, nor with the scheduler."""
        self._idle.append(msg)
        self.check()
        return DEFERRED

    def check(self) -> None:
        """A job is over, the scheduler has answered, or somebody new waits: answer whom it concerns."""
        jobs = self._manager.jobs
        if self._drain and not jobs:
            self._answer(self._drain, None)
        if self._idle and not self._manager.scheduler.pending and not any(job.state >= RUN for job in jobs.values()):
            self._answer(self._idle, {"pending": len(jobs)})

    def _answer(self, waiting: list[Message], payload: Any) -> None:
        for msg in waiting:
            self._manager.flux.respond(msg, payload)
        waiting.clear()

    def disconnected(self, sender: str) -> None:
        """A client went away and waits no more."""
        for waiting in (self._drain, self._idle):
            waiting[:] = [msg for msg in waiting if msg.sender != sender]

    def end(self) -> None:
        """The module is being unloaded."""
        error = FluxError(errno.ENOSYS, "job-manager is being unloaded")
        for msg in (*self._drain, *self._idle):
            self._manager.flux.respond_error(msg, error.errno, str(error))
