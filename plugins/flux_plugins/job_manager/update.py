"""`job-manager.update`: changes of an active job's jobspec (RFC 21, flux-update(1)).

Policies say which keys may be changed and to what; the scheduler has its say where they ask for it, and about the
time of a running job.
"""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.hooks.jobtap import Allowed
from flux.message import ROLE_OWNER, Message
from flux_plugins.job_manager.control import check_access
from flux_plugins.job_manager.job import CLEANUP, IMMUTABLE, RUN, SCHED, Job
from flux_plugins.job_manager.machine import updated_jobspec
from flux_plugins.job_manager.payloads import Update

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Updates"]

DURATION = "attributes.system.duration"


class Updates:
    """Handler of the request."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def update(self, msg: Message, req: Update) -> None:
        """Change a jobspec, all keys or none.

        Raises:
            FluxError: ENOENT no such job; EINVAL it is inactive, or a key or value is refused; EPERM not this
                user's job, or the instance owner has changed it.
        """
        job = self._job(req.id)
        check_access(job, msg)
        by_owner = bool(msg.rolemask & ROLE_OWNER)
        if job.flags & IMMUTABLE and not by_owner:
            raise FluxError(errno.EPERM, "job is immutable due to previous instance owner update")
        updates, allowed = await self._ask_policies(job, msg, req)
        validate = not all(answer.validated for answer in allowed)
        if validate:
            await self._validate(job, updates)
        if any(answer.feasibility for answer in allowed):
            await self._check_feasibility(job, updates)
        expiration = _new_expiration(job, updates)
        if expiration is not None:
            await self._ask_scheduler(job, expiration)
        if self._manager.jobs.get(job.id) is not job:
            raise FluxError(errno.EINVAL, "job is inactive")
        if by_owner and not validate and msg.userid != job.userid:
            self._manager.post(job, "set-flags", {"flags": ["immutable"]})
        self._apply(job, updates)
        if expiration is not None:
            self._manager.extend(job, expiration)

    def _job(self, jobid: int) -> Job:
        active = self._manager.jobs.get(jobid)
        if active is not None:
            return active
        if jobid in self._manager.inactive:
            raise FluxError(errno.EINVAL, "job is inactive")
        raise FluxError(errno.ENOENT, "unknown job id")

    async def _ask_policies(self, job: Job, msg: Message, req: Update) -> tuple[dict[str, Any], list[Allowed]]:
        updates: dict[str, Any] = {}
        allowed = []
        for key, value in req.updates.items():
            results = await self._manager.policies.call_async(
                job, "job_update_request", key=key, value=value, userid=msg.userid, rolemask=msg.rolemask
            )
            if not results:
                raise FluxError(errno.EINVAL, f"update of {key} not supported")
            answer = _as_allowed(results[0])
            updates |= {key: value} | dict(answer.updates)
            allowed.append(answer)
        if not updates or not all(key.startswith("attributes.") for key in updates):
            raise FluxError(errno.EINVAL, "one or more jobspec updates are invalid")
        return updates, allowed

    async def _validate(self, job: Job, updates: dict[str, Any]) -> None:
        before = job.jobspec
        job.jobspec = updated_jobspec(before, updates)
        try:
            await self._manager.policies.call_async(job, "job_validate", conf=self._manager.conf)
        finally:
            job.jobspec = before

    async def _check_feasibility(self, job: Job, updates: dict[str, Any]) -> None:
        request = {"jobspec": updated_jobspec(job.jobspec, updates)}
        await self._ask("feasibility.check", request)

    async def _ask_scheduler(self, job: Job, expiration: float) -> None:
        try:
            await self._ask("sched.expiration", {"id": job.id, "expiration": expiration})
        except FluxError as exc:
            raise FluxError(exc.errno, f"scheduler refused expiration update: {exc}") from None

    async def _ask(self, topic: str, request: dict[str, Any]) -> None:
        """Send a request whose service may be missing, but must not refuse."""
        try:
            await self._manager.flux.rpc(topic, request)
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise

    def _apply(self, job: Job, updates: dict[str, Any]) -> None:
        was_sched = job.state == SCHED
        self._manager.update_jobspec(job, updates)
        if not was_sched:
            self._manager.reprioritize(job)


def _as_allowed(result: Any) -> Allowed:
    if isinstance(result, Allowed):
        return result
    return Allowed() if result is True else Allowed(updates=result)


def _new_expiration(job: Job, updates: dict[str, Any]) -> float | None:
    """When the resources of a running job end after an update of its duration, 0.0 for never; None for any other."""
    if job.state not in (RUN, CLEANUP) or DURATION not in updates:
        return None
    duration = updates[DURATION]
    if not duration:
        return 0.0
    starttime = (job.R or {}).get("execution", {}).get("starttime") or 0.0
    if starttime <= 0:
        raise FluxError(errno.EINVAL, "unable to get job starttime")
    expiration = float(starttime + duration)
    if expiration <= time.time():
        raise FluxError(errno.EINVAL, "requested duration places job expiration in the past")
    return expiration
