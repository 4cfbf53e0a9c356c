"""`job-manager.submit`: jobs that job-ingest has accepted enter the state machine (RFC 21)."""

from __future__ import annotations

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
    errors = []
    for submission in req.jobs:
        refusal = _submit_one(manager, submission)
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
    if submission.id in manager.jobs or submission.id in manager.inactive:
        return f"job id {submission.id} is in use"
    job = Job(submission.id, submission.jobspec)
    context = {"userid": submission.userid, "urgency": submission.urgency, "flags": submission.flags, "version": 1}
    manager.jobs[job.id] = job
    try:
        manager.queues.admit(submission.jobspec)
        manager.post(job, "submit", context, timestamp=submission.t_submit)
        manager.policies.admit(job)
    except (FluxError, IllegalEvent) as exc:
        del manager.jobs[job.id]
        manager.policies.call_for(job, "job_destroy")
        return str(exc)
    manager.max_jobid = max(manager.max_jobid, job.id)
    manager.waits.job_accepted(job)
    manager.post(job, "validate")
    return None
