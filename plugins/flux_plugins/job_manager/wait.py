"""`job-manager.wait`: results of jobs submitted with FLUX_JOB_WAITABLE (flux_job_wait(3)).

Each result is handed out once.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_JOB_WAITABLE, FLUX_JOBID_ANY
from flux.errors import FluxError
from flux.message import Message
from flux.module import DEFERRED
from flux_plugins.job_manager.job import Job

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Waits", "result_of"]

ANY = (-1, FLUX_JOBID_ANY)


class Waits:
    """Who waits for which job, and the results that nobody has asked for yet."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._results: dict[int, Job] = {}
        self._waiters: dict[int, Message] = {}
        self._any: list[Message] = []
        self._active = 0

    def job_accepted(self, job: Job) -> None:
        if job.flags & FLUX_JOB_WAITABLE:
            self._active += 1

    def job_inactive(self, job: Job) -> None:
        """A job is over and its eventlog committed."""
        if not job.flags & FLUX_JOB_WAITABLE:
            return
        self._active -= 1
        msg = self._waiters.pop(job.id, None) or (self._any.pop(0) if self._any else None)
        if msg is None:
            self._results[job.id] = job
        else:
            self._manager.flux.respond(msg, result_of(job))

    def wait(self, msg: Message, jobid: int) -> Any:
        """Handle a request. FluxError ECHILD when there is nothing to wait for."""
        return self._wait_any(msg) if jobid in ANY else self._wait_one(msg, jobid)

    def _wait_any(self, msg: Message) -> Any:
        if self._results:
            return result_of(self._results.pop(next(iter(self._results))))
        if self._active <= len(self._any) + len(self._waiters):
            raise FluxError(errno.ECHILD, "there are no more waitable jobs")
        self._any.append(msg)
        return DEFERRED

    def _wait_one(self, msg: Message, jobid: int) -> Any:
        if jobid in self._results:
            return result_of(self._results.pop(jobid))
        job = self._manager.jobs.get(jobid) or self._manager.inactive.get(jobid)
        if job is None:
            raise FluxError(errno.ECHILD, "invalid job id, or job may be inactive and not waitable")
        if not job.flags & FLUX_JOB_WAITABLE:
            raise FluxError(errno.ECHILD, "job was not submitted with FLUX_JOB_WAITABLE")
        if jobid in self._waiters:
            raise FluxError(errno.ECHILD, "job id already has a waiter")
        if not job.is_active and not self._manager.is_settling(job):
            raise FluxError(errno.ECHILD, "invalid job id, or job may be inactive and not waitable")
        self._waiters[jobid] = msg
        return DEFERRED

    def forget(self, jobid: int) -> None:
        """A job is purged."""
        self._results.pop(jobid, None)

    def end(self) -> None:
        """The module is being unloaded."""
        for msg in (*self._any, *self._waiters.values()):
            self._manager.flux.respond_error(msg, errno.ENOSYS, "job-manager is being unloaded")

    def disconnected(self, sender: str) -> None:
        """A client went away and waits no more."""
        self._any = [msg for msg in self._any if msg.sender != sender]
        self._waiters = {id: msg for id, msg in self._waiters.items() if msg.sender != sender}


def result_of(job: Job) -> dict[str, Any]:
    """The response payload for a job that is over."""
    return {"id": job.id, "success": job.exception is None and job.status == 0, "errstr": _reason(job)}


def _reason(job: Job) -> str:
    if job.exception is not None:
        context = job.exception["context"]
        return f"Fatal exception type={context['type']} {context.get('note', '')}".rstrip()
    if job.status == 0:
        return "Success"
    if os.WIFSIGNALED(job.status):
        number = os.WTERMSIG(job.status)
        return f"task(s) {signal.strsignal(number) or f'signal {number}'}"
    return f"task(s) exited with exit code {os.WEXITSTATUS(job.status)}"
