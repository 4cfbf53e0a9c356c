"""`.priority-default`: a job's priority is its urgency (flux-jobtap-plugins(7), PRIORITY)."""

from __future__ import annotations

from flux.constants import (
    FLUX_JOB_PRIORITY_MAX,
    FLUX_JOB_PRIORITY_MIN,
    FLUX_JOB_URGENCY_EXPEDITE,
    FLUX_JOB_URGENCY_HOLD,
)
from flux.hooks.jobtap import Job, hookimpl

_SPECIAL = {FLUX_JOB_URGENCY_HOLD: FLUX_JOB_PRIORITY_MIN, FLUX_JOB_URGENCY_EXPEDITE: FLUX_JOB_PRIORITY_MAX}


@hookimpl
def job_state_priority(job: Job) -> int:
    return _SPECIAL.get(job.urgency, job.urgency)


@hookimpl
def job_priority_get(job: Job) -> int:
    return _SPECIAL.get(job.urgency, job.urgency)
