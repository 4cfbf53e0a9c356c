"""`job-manager.explain`: why a job is where it is, as far as the job manager and the policies know (flux-job(1))."""

from __future__ import annotations

import errno
import inspect
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import Message
from flux_plugins.job_manager.control import check_access
from flux_plugins.job_manager.job import SCHED, Job
from flux_plugins.job_manager.machine import state_name
from flux_plugins.job_manager.payloads import JobId

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["explain"]


async def explain(manager: Manager, msg: Message, req: JobId) -> dict[str, Any]:
    """What keeps a job in its state.

    Returns:
        state, urgency, priority, annotations; dependencies, perilogs: descriptions that it waits for; policies:
        [name, sentence] of each that has something to say; asking: [name, why it does not answer, or ""] of each
        whose answer it waits for; queue: name and status; ahead: jobs that get resources before it; scheduler: there
        is one.

    Raises:
        FluxError: ENOENT no such job, EPERM not this user's.
    """
    job = manager.job(req.id)
    if job is None:
        raise FluxError(errno.ENOENT, "unknown job id")
    check_access(job, msg)
    view = manager.policies.view(job)
    return {
        "state": state_name(job.state),
        "urgency": job.urgency,
        "priority": job.priority,
        "annotations": job.annotations,
        "dependencies": view.dependencies if job.is_active else [],
        "perilogs": view.perilogs if job.is_active else [],
        "policies": await _sentences(manager, job),
        "asking": manager.policies.isolation.asking(job.id),
        "queue": _queue(manager, job),
        "ahead": _ahead(manager, job) if job.state == SCHED else 0,
        "scheduler": manager.scheduler.ready,
    }


async def _sentences(manager: Manager, job: Job) -> list[list[str]]:
    host, view = manager.policies.host, manager.policies.view(job)
    found = []
    for name in host.names() if host.has("job_explain") and job.is_active else ():
        for answer in host.call_plugin(name, "job_explain", job=view):
            text = await answer if inspect.isawaitable(answer) else answer
            if text is not None:
                found.append([name, str(text)])
    return found


def _queue(manager: Manager, job: Job) -> dict[str, Any]:
    name = manager.queues.name_of(job)
    try:
        return {"name": name, **manager.queues.get(name or None).status(manager.scheduler.ready)}
    except FluxError:
        return {"name": name, "start": False, "stop_reason": "it is not configured any more"}


def _ahead(manager: Manager, job: Job) -> int:
    """Jobs of the same queue that are to get resources first: of higher priority, or as high and older."""
    queue, rank = manager.queues.name_of(job), (-job.priority, job.id)
    waiting = (other for other in manager.jobs.values() if other.state == SCHED and other.priority > 0)
    return sum((-other.priority, other.id) < rank and manager.queues.name_of(other) == queue for other in waiting)
