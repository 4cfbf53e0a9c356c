"""`.dependency-singleton`: one job of a name at a time for each user (RFC 26, scheme singleton)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux.hooks.jobtap import Job, hookimpl, reject

DESCRIPTION = "singleton"


class DependencySingleton:
    """The active jobs of each user and name, in order of submission."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str], dict[int, Job]] = {}

    @hookimpl
    def job_dependency(self, job: Job, scheme: str, dependency: Mapping[str, Any]) -> bool | None:
        if scheme != "singleton":
            return None
        key = _key(job)
        if key is None:
            reject("singleton: the job needs a name (--job-name)")
        if any(other.id != job.id for other in self._groups.get(key, {}).values()):
            job.dependency_add(DESCRIPTION)
        return True

    @hookimpl
    def job_new(self, job: Job) -> None:
        key = _key(job)
        if key is not None:
            self._groups.setdefault(key, {})[job.id] = job

    @hookimpl
    def job_state_inactive(self, job: Job) -> None:
        key = _key(job)
        group = self._groups.get(key) if key is not None else None
        if group is None or group.pop(job.id, None) is None:
            return
        if not group:
            del self._groups[key]  # type: ignore[arg-type]
            return
        if all(DESCRIPTION in other.dependencies for other in group.values()):
            next(iter(group.values())).dependency_remove(DESCRIPTION)


def _key(job: Job) -> tuple[int, str] | None:
    name = job.system.get("job", {}).get("name")
    return None if name is None else (job.userid, name)
