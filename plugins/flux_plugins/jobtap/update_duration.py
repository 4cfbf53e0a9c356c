"""`.update-duration`: lets the duration of a pending job be changed (flux-update(1))."""

from __future__ import annotations

from typing import Any

from flux.constants import FLUX_JOB_STATE_SCHED
from flux.hooks.jobtap import Job, hookimpl, reject

KEY = "attributes.system.duration"


@hookimpl
def job_update_request(job: Job, key: str, value: Any) -> bool | None:
    if key != KEY:
        return None
    if job.state > FLUX_JOB_STATE_SCHED:
        reject("the duration of a job cannot be changed once it has its resources")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        reject(f"duration: expected a number of seconds >= 0, got {value!r}")
    return True
