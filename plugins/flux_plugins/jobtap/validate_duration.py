"""`.validate-duration`: no job may ask for more time than the instance has left."""

from __future__ import annotations

import time

from flux.hooks.jobtap import Job, Manager, hookimpl, reject
from flux.util import fsd


class ValidateDuration:
    """The policy."""

    def __init__(self) -> None:
        self._manager: Manager

    @hookimpl
    def plugin_load(self, manager: Manager) -> None:
        self._manager = manager

    @hookimpl
    def job_validate(self, job: Job) -> None:
        expiration = self._manager.expiration
        duration = job.system.get("duration") or 0.0
        if not expiration or not duration:
            return
        left = max(expiration - time.time(), 0.0)
        if duration > left:
            reject(f"job duration ({fsd(duration)}) exceeds remaining instance lifetime ({fsd(left)})")
