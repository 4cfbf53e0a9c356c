"""What users ask about jobs, and the removal of inactive ones."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.message import Message
from flux.module.access import is_private
from flux_plugins.job_manager.control import check_access
from flux_plugins.job_manager.machine import Job
from flux_plugins.job_manager.payloads import GetAttr, Purge, PurgeId

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Listing"]

_encode_json = msgspec.json.Encoder().encode


class Listing:
    """Handlers of the requests that show or purge jobs."""

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

    # -- purge

    def purge(self, req: Purge) -> dict[str, int]:
        """Remove inactive jobs that are too old or too many, at most `batch` of them, oldest first."""
        surplus = max(len(self._manager.inactive) - req.num_limit, 0) if req.num_limit >= 0 else 0
        too_old = time.time() - req.age_limit if req.age_limit >= 0 else float("-inf")
        chosen = [
            job
            for position, job in enumerate(self._manager.inactive.values())
            if (position < surplus or job.t_clean < too_old) and not self._manager.is_settling(job)
        ]
        if req.force:
            chosen = chosen[: req.batch]
            self._purge(chosen)
        return {"count": len(chosen)}

    def purge_one(self, req: PurgeId) -> dict[str, int]:
        job = self._manager.inactive.get(req.id)
        if job is None:
            active = req.id in self._manager.jobs
            raise FluxError(errno.EINVAL if active else errno.ENOENT, "job is active" if active else "unknown job id")
        if req.force:
            self._purge([job])
        return {"count": 1}

    def _purge(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._manager.forget(job)
        if jobs:
            self._manager.flux.event_send("job-purge-inactive", {"jobs": [job.id for job in jobs]})


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
