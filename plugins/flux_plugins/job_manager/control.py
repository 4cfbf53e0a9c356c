"""What users do to jobs: exceptions, signals, urgency, memos."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flux.constants import FLUX_JOB_STATE_RUN, FLUX_JOB_URGENCY_DEFAULT, FLUX_JOB_URGENCY_MAX, FLUX_USERID_UNKNOWN
from flux.errors import FluxError, ProtocolError
from flux.message import ROLE_OWNER, Message
from flux_plugins.job_manager.job import SCHED, Job
from flux_plugins.job_manager.payloads import Kill, KillAll, Memo, Raise, RaiseAll, Urgency

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Control", "check_access"]

EVERYBODY = (-1, FLUX_USERID_UNKNOWN)


def check_access(job: Job, msg: Message) -> None:
    """FluxError EPERM when a job is not the sender's and the sender is not the instance owner."""
    if not msg.rolemask & ROLE_OWNER and msg.userid != job.userid:
        raise FluxError(errno.EPERM, "guests can only access their own jobs")


class Control:
    """Handlers of the requests that change a job."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    # -- exceptions and signals

    def raise_one(self, msg: Message, req: Raise) -> None:
        _check_exception(req.type, req.severity)
        job = self._manager.require_active(req.id, errno.ENOENT)
        check_access(job, msg)
        self._manager.raise_exception(job, req.type, req.severity, req.note or "", msg.userid, req.wait_status)

    def raise_all(self, msg: Message, req: RaiseAll) -> dict[str, int]:
        _check_exception(req.type, req.severity)
        return self._for_all(
            self._of_user(msg, req.userid, req.states),
            req.dry_run,
            lambda job: self._manager.raise_exception(job, req.type, req.severity, req.note or "", msg.userid),
        )

    def kill(self, msg: Message, req: Kill) -> None:
        job = self._manager.require_active(req.id, errno.EINVAL)
        check_access(job, msg)
        _check_signal(req.signum)
        if job.state != FLUX_JOB_STATE_RUN:
            raise FluxError(errno.EINVAL, "job is not running")
        self._signal(job, req.signum)

    def kill_all(self, msg: Message, req: KillAll) -> dict[str, int]:
        _check_signal(req.signum)
        jobs = self._of_user(msg, req.userid, FLUX_JOB_STATE_RUN)
        return self._for_all(jobs, req.dry_run, lambda job: self._signal(job, req.signum))

    def _signal(self, job: Job, signum: int) -> None:
        self._manager.flux.event_send(f"shell-{job.id}.kill", {"signum": signum})

    def _of_user(self, msg: Message, userid: int, states: int) -> Iterator[Job]:
        if not msg.rolemask & ROLE_OWNER and userid != msg.userid:
            raise FluxError(errno.EPERM, "guests can only access their own jobs")
        for job in list(self._manager.jobs.values()):
            if job.state & states and (userid in EVERYBODY or job.userid == userid):
                yield job

    def _for_all(self, jobs: Iterator[Job], dry_run: bool, function: Callable[[Job], None]) -> dict[str, int]:
        selected = list(jobs)
        if not dry_run:
            for job in selected:
                if job.is_active:  # what was done to another may have ended it
                    function(job)
        return {"count": len(selected), "errors": 0}

    # -- urgency, memo

    def urgency(self, msg: Message, req: Urgency) -> dict[str, int]:
        if not 0 <= req.urgency <= FLUX_JOB_URGENCY_MAX:
            raise FluxError(errno.EINVAL, f"urgency value is out of range: it is 0 to {FLUX_JOB_URGENCY_MAX}")
        job = self._manager.require_active(req.id, errno.EINVAL, "unknown job")
        check_access(job, msg)
        if req.urgency > max(job.urgency, FLUX_JOB_URGENCY_DEFAULT) and not msg.rolemask & ROLE_OWNER:
            raise FluxError(errno.EPERM, "guests can only adjust urgency <= default")
        if job.state > SCHED:
            raise FluxError(errno.EINVAL, "urgency cannot be changed once resources are allocated")
        old = job.urgency
        if old != req.urgency:
            in_sched = job.state == SCHED
            self._manager.post(job, "urgency", {"userid": msg.userid, "urgency": req.urgency})
            if not in_sched:
                self._manager.reprioritize(job)
        return {"old_urgency": old}

    def memo(self, msg: Message, req: Memo) -> None:
        job = self._manager.require_active(req.id, errno.ENOENT)
        check_access(job, msg)
        if req.volatile:
            self._manager.volatile_memo(job, req.memo)
        else:
            self._manager.post(job, "memo", req.memo)


def _check_exception(type: str, severity: int) -> None:
    if not type or any(c.isspace() for c in type):
        raise ProtocolError("invalid exception type")
    if not 0 <= severity <= 7:
        raise ProtocolError("invalid exception severity")


def _check_signal(signum: int) -> None:
    if signum not in signal.valid_signals():
        raise FluxError(errno.EINVAL, "Invalid signal number")
