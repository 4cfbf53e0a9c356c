"""A job as policies see it (`flux.hooks.jobtap.Job`)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.job.outcome import result_number
from flux_plugins.job_manager.job import RUN, Event, Job
from flux_plugins.job_manager.machine import FLAG_BITS, STATE_EVENTS
from flux_plugins.job_manager.policy_wire import JOB_FIELDS

if TYPE_CHECKING:
    from flux.job.Jobspec import Jobspec
    from flux_plugins.job_manager.manager import Manager

__all__ = ["JobView"]


class JobView:
    """See `flux.hooks.jobtap.Job`."""

    __slots__ = ("_job", "_manager", "aux")

    def __init__(self, job: Job, manager: Manager) -> None:
        self._job = job
        self._manager = manager
        self.aux: dict[str, Any] = {}

    @property
    def id(self) -> int:
        return self._job.id

    @property
    def userid(self) -> int:
        return self._job.userid

    @property
    def flags(self) -> int:
        return self._job.flags

    @property
    def urgency(self) -> int:
        return self._job.urgency

    @property
    def priority(self) -> int:
        return self._job.priority

    @property
    def state(self) -> int:
        return self._job.state

    @property
    def t_submit(self) -> float:
        return self._job.t_submit

    @property
    def jobspec(self) -> Jobspec:
        from flux.job.Jobspec import JobspecV1

        # it was checked at ingest: no need to do so again for each policy
        spec = JobspecV1.__new__(JobspecV1)
        spec.jobspec = self._job.jobspec
        return spec

    @property
    def system(self) -> dict[str, Any]:
        attributes = self._job.jobspec.get("attributes") or {}
        return attributes.get("system") or {}

    @property
    def R(self) -> dict[str, Any] | None:
        return self._job.R

    @property
    def annotations(self) -> dict[str, Any]:
        return self._job.annotations

    @property
    def end_event(self) -> Event | None:
        return self._job.end_event

    @property
    def started(self) -> bool:
        """True once its shells have started."""
        return self._job.started

    @property
    def status(self) -> int:
        """Wait status of the finish event, -1 before."""
        return self._job.status

    @property
    def result(self) -> int | None:
        end = self._job.end_event
        if end is None:
            return None
        return result_number(end["context"]["type"] if end["name"] == "exception" else None, self._job.status)

    @property
    def dependencies(self) -> list[str]:
        return [text for text, met in self._job.dependencies.items() if not met]

    @property
    def perilogs(self) -> list[str]:
        return sorted(self._job.prologs | self._job.epilogs)

    def snapshot(self) -> dict[str, Any]:
        """What the process of an isolated policy is told of the job."""
        found = {field: getattr(self, field) for field in JOB_FIELDS}
        return {**found, "jobspec": self._job.jobspec, "dependencies": self._job.dependencies}

    def dependency_add(self, description: str) -> bool:
        met = self._job.dependencies.get(description)
        if met:
            raise FluxError(errno.EEXIST, f"the job had a dependency {description} before, which was met")
        if met is None:
            self._manager.post(self._job, "dependency-add", {"description": description})
        return met is None

    def dependency_remove(self, description: str) -> None:
        if self._job.dependencies.get(description, True):
            raise FluxError(errno.ENOENT, f"{description} is not a dependency that the job waits for")
        self._manager.post(self._job, "dependency-remove", {"description": description})

    def raise_exception(self, type: str, severity: int, note: str = "") -> None:
        if self._job.is_active:
            self._manager.raise_exception(self._job, type, severity, note)

    def post_event(self, name: str, context: Mapping[str, Any] | None = None) -> None:
        if name in STATE_EVENTS:
            raise FluxError(errno.EINVAL, f"{name} changes what the job is and cannot be posted by a policy")
        self._manager.post(self._job, name, context)

    def has_event(self, name: str) -> bool:
        return any(event["name"] == name for event in self._job.events)

    def set_flag(self, name: str) -> None:
        bit = FLAG_BITS.get(name)
        if bit is None:
            raise FluxError(errno.EINVAL, f"no flag {name!r}: a policy may set {' or '.join(FLAG_BITS)}")
        if not self._job.flags & bit:
            self._manager.post(self._job, "set-flags", {"flags": [name]})

    def jobspec_update(self, updates: Mapping[str, Any]) -> None:
        if self._job.state >= RUN:
            raise FluxError(errno.EINVAL, "the jobspec of a job that has got its resources cannot be updated")
        if not updates or not all(key.startswith("attributes.") for key in updates):
            raise FluxError(errno.EINVAL, f"keys of an update begin with attributes., not so in {', '.join(updates)}")
        self._manager.update_jobspec(self._job, updates)

    def subscribe(self, callback: Callable[[JobView, Event], Any]) -> None:
        if self._job.is_active:
            self._manager.subscriptions.add(self._job.id, callback)

    def unsubscribe(self, callback: Callable[[JobView, Event], Any]) -> None:
        self._manager.subscriptions.remove(self._job.id, callback)

    def reprioritize(self, priority: int) -> None:
        self._manager.set_priority(self._job, priority)

    def annotate(self, annotations: Mapping[str, Any]) -> None:
        self._manager.annotate(self._job, annotations)

    def prolog_start(self, description: str) -> None:
        self._manager.post(self._job, "prolog-start", {"description": description})

    def prolog_finish(self, description: str, status: int) -> None:
        self._manager.post(self._job, "prolog-finish", {"description": description, "status": status})

    def epilog_start(self, description: str) -> None:
        self._manager.post(self._job, "epilog-start", {"description": description})

    def epilog_finish(self, description: str, status: int) -> None:
        self._manager.post(self._job, "epilog-finish", {"description": description, "status": status})
