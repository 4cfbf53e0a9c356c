"""`.update-queue`: lets a pending job be moved to another queue (flux-update(1)).

Its constraints must be those of its queue and no others, because those of the new queue take their place.
"""

from __future__ import annotations

from typing import Any

from flux.constants import FLUX_JOB_STATE_SCHED
from flux.hooks.jobtap import Allowed, Job, Manager, hookimpl, reject

KEY = "attributes.system.queue"
CONSTRAINTS = "attributes.system.constraints"


class UpdateQueue:
    """The policy."""

    def __init__(self) -> None:
        self._manager: Manager

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager

    @hookimpl
    def job_update_request(self, job: Job, key: str, value: Any) -> Allowed | None:
        if key != KEY:
            return None
        if not isinstance(value, str):
            reject(f"queue must be a name, got {value!r}")
        if job.state > FLUX_JOB_STATE_SCHED:
            reject("update of queue for running job not supported")
        current = job.system.get("queue")
        if current == value:
            reject(f"job queue is already set to {value}")
        queue = self._manager.queue(value)
        if not queue.enable:
            reject(f"queue {value} is currently disabled")
        if (job.system.get("constraints") or {}) != _constraints(self._manager.queue(current).requires):
            reject(f"job appears to have non-queue constraints, unable to update queue to {value}")
        return Allowed({CONSTRAINTS: _constraints(queue.requires)}, feasibility=True)


def _constraints(requires: list[str]) -> dict[str, Any]:
    return {"properties": requires} if requires else {}
