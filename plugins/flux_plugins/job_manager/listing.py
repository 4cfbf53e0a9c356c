"""What users ask about jobs."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.message import Message
from flux.module.access import is_private
from flux_plugins.job_manager.control import check_access
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.payloads import GetAttr

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Listing"]

_encode_json = msgspec.json.Encoder().encode


class Listing:
    """Handlers of the requests that show jobs."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def getattr(self, msg: Message, req: GetAttr) -> dict[str, Any]:
        job = self._manager.job(req.id)
        if is_private(self._manager.conf, msg) and (job is None or job.userid != msg.userid):
            raise FluxError(errno.EPERM)  # the same for both, so that it does not tell which jobs there are
        if job is None:
            raise FluxError(errno.EINVAL, "unknown job")
        check_access(job, msg)
        return {"id": job.id} | {attr: _attribute(job, attr) for attr in req.attrs}

    def active(self, max_entries: int) -> dict[str, Any]:
        """The pending jobs in the order they will get resources, then the running ones by age."""
        if max_entries < 0:
            raise ProtocolError("max_entries must not be negative")
        jobs = sorted(self._manager.jobs.values(), key=lambda job: (-job.priority, job.id))
        return {"jobs": [_summary(job) for job in jobs[: max_entries or None]]}


def _attribute(job: Job, name: str) -> Any:
    if name == "jobspec":
        return job.jobspec
    if name == "R":
        if job.R is None:
            raise FluxError(errno.ENOENT, "the job has no resources")
        return job.R
    if name == "eventlog":
        return "".join(_encode_json(event).decode() + "\n" for event in job.events)
    raise FluxError(errno.EINVAL, f"unknown attribute {name}: it may be jobspec, R or eventlog")


def _summary(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "userid": job.userid,
        "urgency": job.urgency,
        "priority": job.priority,
        "t_submit": job.t_submit,
        "state": job.state,
    }
