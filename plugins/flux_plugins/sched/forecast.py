"""Why the jobs at the head of the queue wait, and until when (RFC 27 annotations). No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flux.allocation.pool import Pool, Unsatisfiable
from flux.allocation.shortage import shortage
from flux_plugins.sched.driver import Forecast
from flux_plugins.sched.queue import Pending
from flux_plugins.sched.timeline import Timeline

__all__ = ["FORECAST_JOBS", "first_come", "reason"]

FORECAST_JOBS = 16
"""How many jobs at the head of the queue are told."""


def reason(pool: Pool, job: Pending) -> str:
    """What of the resources a job lacks."""
    try:
        return shortage(job.request, pool.candidates(job.request.constraint))
    except Unsatisfiable as exc:
        return str(exc)


def first_come(pool: Pool, jobs: list[Pending], timeline: Timeline, now: float) -> Iterator[Forecast]:
    """Tell jobs of which none starts before the one ahead of it; without a time limit ahead, there is no estimate."""
    earliest = now
    for ahead, job in enumerate(jobs):
        told: dict[str, Any] = {
            "reason_pending": reason(pool, job) if not ahead else _waits(ahead),
            "jobs_ahead": ahead,
        }
        duration = job.request.duration or math.inf
        slot = timeline.find(job.request, duration, earliest) if earliest < math.inf else None
        earliest = math.inf if slot is None else slot.start
        if slot is not None:
            timeline.use(slot.start, slot.start + duration, slot.allocation)
            told["t_estimate"] = round(slot.start, 1)
        yield Forecast(job, told)


def _waits(ahead: int) -> str:
    return "waits for the job ahead of it" if ahead == 1 else f"waits for {ahead} jobs ahead of it"
