"""`.update-duration`: lets the duration of a job be changed (flux-update(1)).

The instance owner may go beyond all limits, and change it while the job runs. Loaded with owner-allow-any=0, it
lets the owner do no more than others may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux.constants import FLUX_JOB_STATE_SCHED
from flux.hooks.jobtap import Allowed, Job, Manager, hookimpl, reject
from flux.message import ROLE_OWNER

KEY = "attributes.system.duration"


class UpdateDuration:
    """The policy."""

    def __init__(self) -> None:
        self._owner_allow_any = True

    @hookimpl
    def plugin_load(self, manager: Manager, options: Mapping[str, Any]) -> None:
        self._owner_allow_any = bool(options.get("owner-allow-any", True))

    @hookimpl
    def job_update_request(self, job: Job, key: str, value: Any, rolemask: int) -> Allowed | None:
        if key != KEY:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not value < float("inf"):
            reject(f"duration must be a number of seconds, got {value!r}")
        if value < 0:
            reject("duration must not be negative")
        any_value = self._owner_allow_any and bool(rolemask & ROLE_OWNER)
        if job.state > FLUX_JOB_STATE_SCHED and not any_value:
            reject("duration update of running job requires instance owner privileges")
        return Allowed(validated=any_value)
