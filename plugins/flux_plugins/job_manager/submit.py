"""`job-manager.submit`: jobs that job-ingest has accepted enter the state machine (RFC 21)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import Message
from flux.module import DEFERRED
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.machine import IllegalEvent
from flux_plugins.job_manager.payloads import Submission, Submit

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["submit"]


def submit(manager: Manager, msg: Message, req: Submit) -> Any:
    """Enter a batch of jobs; answered with [id, reason] for those refused once the others' events are committed."""
    if manager.policies.must_wait("job_create", "job_validate", "job_dependency"):
        return _submit_later(manager, msg, req)
    errors = []
    for submission in req.jobs:
        refusal = _submit_one(manager, submission)
        if refusal is not None:
            errors.append([submission.id, refusal])
    manager.writer.on_commit(lambda error: _respond(manager, msg, errors, error))
    return DEFERRED


async def _submit_later(manager: Manager, msg: Message, req: Submit) -> Any:
    """As `submit`, waiting for isolated policies: one job at a time, so that they may count."""
    errors = []
    async with manager.submitting:
        for submission in req.jobs:
            refusal = await _submit_one_later(manager, submission)
            if refusal is not None:
                errors.append([submission.id, refusal])
    manager.writer.on_commit(lambda error: _respond(manager, msg, errors, error))
    return DEFERRED


def _respond(manager: Manager, msg: Message, errors: list[list[Any]], error: FluxError | None) -> None:
    if error is None:
        manager.flux.respond(msg, {"errors": errors})
    else:
        manager.flux.respond_error(msg, error.errno, str(error))


def _submit_one(manager: Manager, submission: Submission) -> str | None:
    """Enter one job; the reason when it is refused."""
    try:
        job = _enter(manager, submission)
    except FluxError as exc:
        return str(exc)
    try:
        _begin(manager, job, submission)
        manager.policies.admit(job)
    except (FluxError, IllegalEvent) as exc:
        return _refuse(manager, job, exc)
    return _accept(manager, job)


async def _submit_one_later(manager: Manager, submission: Submission) -> str | None:
    try:
        job = _enter(manager, submission)
    except FluxError as exc:
        return str(exc)
    try:
        _begin(manager, job, submission)
        await manager.policies.admit_async(job)
    except (FluxError, IllegalEvent) as exc:
        return _refuse(manager, job, exc)
    return _accept(manager, job)


def _enter(manager: Manager, submission: Submission) -> Job:
    if submission.id in manager.jobs or submission.id in manager.inactive:
        raise FluxError(errno.EEXIST, f"job id {submission.id} is in use")
    job = manager.jobs[submission.id] = Job(submission.id, submission.jobspec)
    return job


def _begin(manager: Manager, job: Job, submission: Submission) -> None:
    context = {"userid": submission.userid, "urgency": submission.urgency, "flags": submission.flags, "version": 1}
    manager.queues.admit(submission.jobspec)
    manager.post(job, "submit", context, timestamp=submission.t_submit)


def _refuse(manager: Manager, job: Job, reason: Exception) -> str:
    del manager.jobs[job.id]
    manager.subscriptions.end(job.id)
    manager.policies.call_for(job, "job_destroy")
    return str(reason)


def _accept(manager: Manager, job: Job) -> None:
    manager.max_jobid = max(manager.max_jobid, job.id)
    manager.waits.job_accepted(job)
    manager.post(job, "validate")
