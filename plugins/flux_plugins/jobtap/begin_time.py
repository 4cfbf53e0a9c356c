"""`.begin-time`: jobs that wait for a time (RFC 26, scheme begin-time; flux-submit(1) --begin-time)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from flux.hooks.jobtap import Job, Manager, hookimpl, reject

PREFIX = "begin-time="


class BeginTime:
    """A timer for each job that waits."""

    def __init__(self) -> None:
        self._timers: dict[int, Any] = {}
        self._manager: Manager

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager

    @hookimpl
    def plugin_unload(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    @hookimpl
    def job_dependency(self, job: Job, scheme: str, dependency: Mapping[str, Any]) -> bool | None:
        if scheme != "begin-time":
            return None
        when = _timestamp(dependency["value"])
        if when > time.time():
            job.dependency_add(f"{PREFIX}{when:.3f}")
        return True

    @hookimpl
    def job_new(self, job: Job) -> None:
        for description in job.dependencies:
            if description.startswith(PREFIX) and job.id not in self._timers:
                self._arm(job, description)

    def _arm(self, job: Job, description: str) -> None:
        delay = float(description.removeprefix(PREFIX)) - time.time()
        self._timers[job.id] = self._manager.call_later(delay, lambda: self._expired(job, description))

    def _expired(self, job: Job, description: str) -> None:
        self._timers.pop(job.id, None)
        if float(description.removeprefix(PREFIX)) > time.time():
            self._arm(job, description)  # the clock was set back
        elif description in job.dependencies:
            job.dependency_remove(description)

    @hookimpl
    def job_state_inactive(self, job: Job) -> None:
        timer = self._timers.pop(job.id, None)
        if timer is not None:
            timer.cancel()


def _timestamp(value: str) -> float:
    try:
        when = float(value)
    except ValueError:
        when = -1.0
    if not math.isfinite(when) or when < 0:
        reject(f"begin-time: expected seconds since the epoch, got {value}")
    return when
