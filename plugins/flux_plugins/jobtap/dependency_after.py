"""`.dependency-after`: jobs that wait for other jobs (RFC 26; flux-submit(1), DEPENDENCIES).

Schemes afterstart, afterany, afterok, afternotok and afterexcept, with a job id as value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flux.constants import FLUX_JOB_STATE_DEPEND, FLUX_JOB_STATE_INACTIVE
from flux.errors import FluxError
from flux.hooks.jobtap import Job, Manager, hookimpl, reject
from flux.job.fluid import decode, encode_f58

_KINDS = {
    "after": "start",
    "afterstart": "start",
    "afterany": "finish",
    "afterok": "success",
    "afternotok": "failure",
    "afterexcept": "except",
}


class Waiting(NamedTuple):
    """A job that waits for another, and for what."""

    job: Job
    kind: str
    description: str


class DependencyAfter:
    """Knows who waits for whom."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Waiting]] = {}
        self._targets: dict[int, Job] = {}

    @hookimpl
    def job_dependency(self, job: Job, scheme: str, dependency: Mapping[str, Any], manager: Manager) -> bool | None:
        kind = _KINDS.get(scheme)
        if kind is None:
            return None
        target = _target(job, scheme, dependency["value"], manager)
        if scheme == "after":
            job.raise_exception("dependency", 3, "dependency scheme after is deprecated, use afterstart")
        description = f"after-{kind}={encode_f58(target.id, ascii_only=False)}"
        met = _is_met(kind, target)
        if met is False:
            reject(f"dependency {description} can never be satisfied")
        if met is None and (job.dependency_add(description) or description in job.dependencies):
            self._waiting.setdefault(target.id, []).append(Waiting(job, kind, description))
            self._targets[target.id] = target
            target.subscribe(self._on_event)
        return True

    @hookimpl
    def plugin_unload(self) -> None:
        for target in self._targets.values():
            target.unsubscribe(self._on_event)

    def _on_event(self, target: Job, event: Mapping[str, Any]) -> None:
        if event["name"] not in ("start", "clean"):
            return
        still = [entry for entry in self._waiting.pop(target.id, ()) if not _settle(entry, target)]
        if still:
            self._waiting[target.id] = still
        else:
            self._targets.pop(target.id, None)
            target.unsubscribe(self._on_event)

    @hookimpl
    def plugin_query(self) -> dict[str, Any]:
        return {"waiting": {str(id): [w.description for w in entries] for id, entries in self._waiting.items()}}


def _target(job: Job, scheme: str, value: str, manager: Manager) -> Job:
    try:
        target = manager.job(decode(value))
    except ValueError:
        reject(f"{scheme}: {value} is not a job id")
    except FluxError:
        reject(f"{scheme}: job {value} not found")
    if target.userid != job.userid:
        reject(f"{scheme}: job {value} belongs to another user")
    return target


def _is_met(kind: str, target: Job) -> bool | None:
    """Whether what is waited for has happened; None when it still may."""
    over = target.state == FLUX_JOB_STATE_INACTIVE
    if kind == "start":
        return True if target.started else (False if over else None)
    if not over:
        return None
    failed_hard = target.end_event is not None and target.end_event["name"] == "exception"
    success = not failed_hard and target.status == 0
    return {"finish": True, "success": success, "failure": not success, "except": failed_hard}[kind]


def _settle(entry: Waiting, target: Job) -> bool:
    """Tell a waiting job what came of its dependency; False while that is open."""
    met = _is_met(entry.kind, target)
    if met is None:
        return False
    if entry.job.state == FLUX_JOB_STATE_DEPEND and entry.description in entry.job.dependencies:
        if met:
            entry.job.dependency_remove(entry.description)
        else:
            entry.job.raise_exception("dependency", 0, f"dependency {entry.description} can never be satisfied")
    return True
