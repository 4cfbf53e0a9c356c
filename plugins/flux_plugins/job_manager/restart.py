"""Rebuilds the job manager's state from the KVS: every job's eventlog is replayed (RFC 16, RFC 21)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux import eventlog
from flux.errors import FluxError
from flux.job.fluid import decode
from flux_plugins.job_manager import stored
from flux_plugins.job_manager.job import CLEANUP, RUN, SCHED, Job
from flux_plugins.job_manager.machine import IllegalEvent, transition

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["checkpoint", "restore", "resume"]

CHECKPOINT_KEY = "checkpoint.job-manager"
ID_GROUPS = 4


async def restore(manager: Manager) -> None:
    """Find all jobs. One that cannot be read is logged and left alone."""
    saved = await stored.read_json(manager.flux, CHECKPOINT_KEY) or {}
    manager.max_jobid = saved.get("max_jobid", 0)
    manager.queues.restore(saved.get("queue", []))
    jobs = []
    for key in await _job_keys(manager, "job", ID_GROUPS):
        job = await _load(manager, key)
        if job is not None:
            jobs.append(job)
    for job in sorted((job for job in jobs if not job.is_active), key=lambda job: job.t_clean):
        manager.inactive[job.id] = job
    manager.jobs.update((job.id, job) for job in jobs if job.is_active)
    manager.max_jobid = max([manager.max_jobid, *(job.id for job in jobs)])


async def resume(manager: Manager) -> None:
    """Tell the policies of the jobs that were found, and let the active ones go on."""
    for job in manager.inactive.values():
        manager.policies.call_for(job, "job_inactive_add")
    for job in list(manager.jobs.values()):
        try:
            await manager.policies.introduce(job)
        except FluxError as exc:
            manager.raise_exception(job, "depend", 0, str(exc))
            continue
        manager.waits.job_accepted(job)
        if job.state == SCHED:
            manager.post(job, "flux-restart")
            continue
        if job.state in (RUN, CLEANUP):
            manager.debug_event(job, "debug.exec-reattach-start")
        manager.reprioritize(job)
        manager.advance(job)


def checkpoint(manager: Manager) -> None:
    """Write what a restart cannot find in the eventlogs."""
    state = {"version": 1, "max_jobid": manager.max_jobid, "queue": manager.queues.save()}
    manager.writer.put(CHECKPOINT_KEY, state)


async def _job_keys(manager: Manager, key: str, depth: int) -> list[str]:
    names = [f"{key}.{name}" for name in await stored.names(manager.flux, key)]
    if depth == 1:
        return names
    return [found for name in names for found in await _job_keys(manager, name, depth - 1)]


async def _load(manager: Manager, key: str) -> Job | None:
    log = await stored.read(manager.flux, f"{key}.eventlog")
    jobspec = await stored.read_json(manager.flux, f"{key}.jobspec")
    if log is None or jobspec is None:
        manager.log.error(f"{key} lacks an eventlog or a jobspec, which an interrupted submission leaves: ignored")
        return None
    job = Job(decode(key), jobspec)
    try:
        for event in eventlog.decode(log):
            transition(job, _as_entry(event))
            if event.name == "alloc":
                job.R = await stored.read_json(manager.flux, f"{key}.R")
                job.launched = True  # perhaps: an answer that it was may have been lost with the service before
    except (ValueError, IllegalEvent) as exc:
        manager.log.error(f"{key} cannot be replayed and is ignored: {exc}")
        return None
    return job


def _as_entry(event: eventlog.Event) -> dict[str, Any]:
    entry: dict[str, Any] = {"timestamp": event.timestamp, "name": event.name}
    return entry | {"context": event.context} if event.context else entry
