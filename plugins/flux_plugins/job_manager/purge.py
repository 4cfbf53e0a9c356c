"""Removal of inactive jobs: on demand, and of those too old or too many (flux-job(1) purge).

Limits come from `job-manager.inactive-age-limit` and `inactive-num-limit` (flux-config-job-manager(5)).
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.errors import FluxError
from flux.util import parse_fsd
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.payloads import Purge, PurgeId

if TYPE_CHECKING:
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Purger", "read_limits"]

BATCH = 100
"""Jobs that are removed in one go, at most."""

_LONGEST_NAP = 3600.0


class Limits(NamedTuple):
    """age: seconds since a job ended. num: inactive jobs. -1 for no limit."""

    age: float = -1.0
    num: int = -1


def read_limits(conf: Mapping[str, Any]) -> Limits:
    """The limits of a configuration. FluxError EINVAL when they are wrong."""
    table = conf.get("job-manager") or {}
    num = table.get("inactive-num-limit", -1)
    if isinstance(num, bool) or not isinstance(num, int) or (num < 0 and "inactive-num-limit" in table):
        raise FluxError(errno.EINVAL, f"job-manager.inactive-num-limit must be an integer >= 0, not {num!r}")
    if "inactive-age-limit" not in table:
        return Limits(num=num)
    try:
        age = parse_fsd(str(table["inactive-age-limit"]))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"job-manager.inactive-age-limit: {exc}") from None
    return Limits(-1.0 if math.isinf(age) else age, num)


class Purger:
    """Handlers of the requests, and the keeper of the limits."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._limits = Limits()
        self._timer: Any = None

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take other limits, and see to them at once."""
        self._limits = read_limits(conf)
        self._wake(0.0)

    def job_inactive(self) -> None:
        """There is one inactive job more, its eventlog committed."""
        too_many = 0 <= self._limits.num < len(self._manager.inactive)
        if too_many or (self._timer is None and self._limits != Limits()):
            self._wake(0.0)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self, delay: float) -> None:
        self.stop()
        if self._limits != Limits():
            self._timer = self._manager.flux.call_later(delay, self._keep_limits)

    def _keep_limits(self) -> None:
        """Remove a batch, and come back when there is more to do: at once, or when the oldest job is too old."""
        self._timer = None
        purged = self._purge(self._eligible(self._limits, BATCH))
        oldest = next(iter(self._manager.inactive.values()), None)
        if purged == BATCH:
            self._wake(0.0)
        elif oldest is not None and self._limits.age >= 0:
            left = oldest.t_clean + self._limits.age - time.time()
            self._wake(min(max(left, 0.1), _LONGEST_NAP))

    def _eligible(self, limits: Limits, most: float = math.inf) -> list[Job]:
        """The jobs that exceed limits, oldest first."""
        return list(self._exceeding(limits, most))

    def _exceeding(self, limits: Limits, most: float) -> Iterator[Job]:
        inactive = self._manager.inactive
        surplus = len(inactive) - limits.num if limits.num >= 0 else 0
        too_old = time.time() - limits.age if limits.age >= 0 else -math.inf
        for position, job in enumerate(inactive.values()):
            over = position < surplus or job.t_clean < too_old
            if position >= most or not over or self._manager.is_settling(job):
                return
            yield job

    def _purge(self, jobs: list[Job]) -> int:
        for job in jobs:
            self._manager.forget(job)
        if jobs:
            self._manager.flux.event_send("job-purge-inactive", {"jobs": [job.id for job in jobs]})
        return len(jobs)

    # -- requests

    def purge(self, req: Purge) -> dict[str, int]:
        """Remove inactive jobs that are too old or too many, at most `batch` of them; or count them all."""
        if req.age_limit < 0 and req.age_limit != -1:
            raise FluxError(errno.EINVAL, "if set, age limit must be >= 0")
        if req.num_limit < 0 and req.num_limit != -1:
            raise FluxError(errno.EINVAL, "if set, num limit must be >= 0")
        if not 1 <= req.batch <= BATCH:
            raise FluxError(errno.EINVAL, f"batch must be >= 1 and <= {BATCH}")
        limits = Limits(req.age_limit, req.num_limit)
        if not req.force:
            return {"count": len(self._eligible(limits))}
        return {"count": self._purge(self._eligible(limits, req.batch))}

    def purge_one(self, req: PurgeId) -> dict[str, int]:
        """Remove one inactive job, or say that it could be."""
        job = self._manager.inactive.get(req.id)
        if job is None and req.id in self._manager.jobs:
            raise FluxError(errno.EINVAL, "cannot purge active job")
        if job is None:
            raise FluxError(errno.ENOENT, "id not found")
        if req.force:
            self._purge([job])
        return {"count": 1}
