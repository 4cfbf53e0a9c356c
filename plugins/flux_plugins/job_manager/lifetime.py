"""When the instance's own resources end, which a job around it may change (flux-update(1))."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_JOB_STATE_RUN, FLUX_KVS_WAITCREATE, FLUX_KVS_WATCH
from flux.errors import FluxError
from flux.kvs.requests import watch_async

if TYPE_CHECKING:
    from flux_plugins.job_manager.job import Job
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Lifetime"]

_RETRY = 1.0
"""Seconds until kvs-watch, which is not there or is exchanged, is asked again."""


class Lifetime:
    """Follows `resource.R`, and moves the end of running jobs that were given what is left of the instance's time.

    Attributes:
        expiration: seconds since the epoch; 0.0 for no end.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._watch: Any = None
        self._known = self._stopped = False
        self.expiration = 0.0

    def start(self) -> None:
        if self._stopped:
            return
        flags = FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE
        self._watch = watch_async(self._manager.flux, "resource.R", flags, namespace="primary")
        self._watch.then(self._changed)

    def stop(self) -> None:
        self._stopped = True
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _changed(self, watch: Any) -> None:
        if self._watch is None:
            return
        try:
            expiration = float(watch.json()["execution"].get("expiration") or 0.0)
        except FluxError as exc:
            if exc.errno == errno.ENOSYS:
                self._manager.flux.call_later(_RETRY, self.start)
                return
            self._manager.log.error(f"the end of the instance is not followed any more: {exc}")
            return
        watch.reset()
        before, self.expiration = self.expiration, expiration
        if self._known and expiration != before:
            self._manager.log.info(f"the instance's resources expire at {expiration:.2f} instead of {before:.2f}")
            for job in list(self._manager.jobs.values()):
                if _ends_with_the_instance(job):
                    self._manager.extend(job, expiration)
        self._known = True


def _ends_with_the_instance(job: Job) -> bool:
    """True when a job runs without a duration of its own."""
    system = (job.jobspec.get("attributes") or {}).get("system") or {}
    return job.state == FLUX_JOB_STATE_RUN and job.R is not None and not system.get("duration")
