"""`.priority-fairshare`: who has used more than their share of late comes later (flux-jobtap-plugins(7), PRIORITY).

A job's priority is its urgency times `urgency-weight`, plus `weight` times its user's factor. The factor is 1 for a
user who has used nothing, 1/2 for one whose part of all usage is just their part of all shares, and goes to 0.
"""

from __future__ import annotations

import errno
import math
import pwd
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flux.constants import (
    FLUX_JOB_PRIORITY_MAX,
    FLUX_JOB_PRIORITY_MIN,
    FLUX_JOB_URGENCY_EXPEDITE,
    FLUX_JOB_URGENCY_HOLD,
)
from flux.errors import FluxError
from flux.hooks.jobtap import Job, Manager, hookimpl
from flux.idset import IDset
from flux.kvs import KVSTxn, commit_async, lookup_async
from flux.util import parse_fsd

__all__ = ["PriorityFairshare", "Usage"]

KEY = "job-manager.fairshare"
"""KVS key that usage is kept under, {"time": seconds since the epoch, "usage": {userid: core seconds}}."""

_SPECIAL = {FLUX_JOB_URGENCY_HOLD: FLUX_JOB_PRIORITY_MIN, FLUX_JOB_URGENCY_EXPEDITE: FLUX_JOB_PRIORITY_MAX}


class Options(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
    """What the policy is loaded with.

    Attributes:
        half_life: FSD after which usage counts half. interval: FSD between two looks at it.
        weight, urgency_weight: of the factor, and of one step of urgency.
        shares: user name or id to shares. default_share: of users who are not named.
    """

    half_life: str | float = "7d"
    interval: str | float = "60s"
    weight: int = 100_000
    urgency_weight: int = 10_000
    shares: dict[str, float] = {}
    default_share: float = 1.0


class Usage:
    """Core seconds of each user, of which half are forgotten after each half-life."""

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._users: dict[int, float] = {}
        self._time = 0.0

    def at(self, now: float) -> dict[int, float]:
        """What counts of each user's, at a time in seconds since the epoch."""
        decay = self.decay(now - self._time)
        self._users = {user: used * decay for user, used in self._users.items()}
        self._time = max(now, self._time)
        return dict(self._users)

    def decay(self, age: float) -> float:
        """What is left of 1 after so many seconds."""
        return float(0.5 ** (max(age, 0.0) / self._half_life))

    def add(self, user: int, core_seconds: float, now: float) -> None:
        """A user has used so much more by now."""
        self.at(now)
        self._users[user] = self._users.get(user, 0.0) + core_seconds


class PriorityFairshare:
    """Charges jobs that have ended, and those that run for what they had so far."""

    def __init__(self) -> None:
        self._options = Options()
        self._usage = Usage(math.inf)
        self._running: dict[int, tuple[int, int, float]] = {}  # user, cores and start of each job
        self._shares: dict[int, float] = {}
        self._factors: dict[int, float] = {}
        self._timer: Any = None

    @hookimpl
    def plugin_load(self, manager: Manager, options: Mapping[str, Any]) -> None:
        self._options = _read_options(options)
        self._usage = Usage(_seconds("half-life", self._options.half_life))
        self._interval = _seconds("interval", self._options.interval)
        self._shares = {_userid(user): share for user, share in self._options.shares.items()}
        self._manager = manager
        self._timer = manager.call_later(self._interval, self._tick)
        lookup_async(manager.flux, KEY, namespace="primary").then(self._restore)

    @hookimpl
    def plugin_unload(self) -> None:
        if self._timer is not None:  # else it was refused
            self._timer.cancel()
            self._save(time.time())

    def _restore(self, lookup: Any) -> None:
        try:
            kept = msgspec.json.decode(lookup.value())
        except OSError as exc:
            if exc.errno != errno.ENOENT:
                raise
            return
        now = time.time()
        for user, used in kept["usage"].items():
            self._usage.add(int(user), used * self._usage.decay(now - kept["time"]), now)
        self._evaluate(now)

    def _tick(self) -> None:
        now = time.time()
        self._timer = self._manager.call_later(self._interval, self._tick)
        self._save(now)
        self._evaluate(now)

    def _save(self, now: float) -> None:
        usage = {str(user): used for user, used in self._usage.at(now).items()}
        txn = KVSTxn()
        txn.put(KEY, {"time": now, "usage": usage})
        commit_async(self._manager.flux, txn, namespace="primary").then(lambda commit: commit.get())

    def _evaluate(self, now: float) -> None:
        """Find everybody's factor anew, and with it all priorities."""
        used = self._usage.at(now)
        for user, cores, start in self._running.values():
            used[user] = used.get(user, 0.0) + cores * max(now - start, 0.0)
        factors = fair_factors(used, {user: self._share(user) for user in used})
        if factors != self._factors:
            self._factors = factors
            self._manager.reprioritize_all()

    def _share(self, user: int) -> float:
        return self._shares.get(user, self._options.default_share)

    # -- what jobs use

    @hookimpl
    def job_new(self, job: Job) -> None:
        if job.R is not None:
            self._begin(job)

    @hookimpl
    def job_state_run(self, job: Job) -> None:
        self._begin(job)

    def _begin(self, job: Job) -> None:
        if job.R is not None:
            execution = job.R["execution"]
            start = execution.get("starttime") or time.time()
            self._running[job.id] = (job.userid, _cores(execution["R_lite"]), start)

    @hookimpl
    def job_state_inactive(self, job: Job, event: Mapping[str, Any]) -> None:
        user, cores, start = self._running.pop(job.id, (job.userid, 0, 0.0))
        if cores:
            self._usage.add(user, cores * max(event["timestamp"] - start, 0.0), event["timestamp"])

    # -- priorities

    @hookimpl
    def job_state_priority(self, job: Job) -> int:
        return self._priority(job)

    @hookimpl
    def job_priority_get(self, job: Job) -> int:
        return self._priority(job)

    def _priority(self, job: Job) -> int:
        if job.urgency in _SPECIAL:
            return _SPECIAL[job.urgency]
        factor = self._factors.get(job.userid, 1.0)
        return job.urgency * self._options.urgency_weight + round(self._options.weight * factor)

    @hookimpl
    def plugin_query(self) -> dict[str, Any]:
        usage = self._usage.at(time.time())
        return {
            "usage": {str(user): round(used, 1) for user, used in usage.items()},
            "factor": {str(user): round(factor, 4) for user, factor in self._factors.items()},
        }


def fair_factors(used: Mapping[int, float], shares: Mapping[int, float]) -> dict[int, float]:
    """Each user's factor, 0 to 1, from what they used and the shares they have; 0 for one without any share."""
    total, all_shares = sum(used.values()), sum(shares.values())
    if not total:
        return {}
    return {
        user: 2.0 ** -((amount / total) / (shares[user] / all_shares)) if shares[user] else 0.0
        for user, amount in used.items()
    }


def _cores(entries: Iterable[Mapping[str, Any]]) -> int:
    return sum(IDset(entry["rank"]).count() * IDset(entry["children"].get("core", "")).count() for entry in entries)


def _read_options(options: Mapping[str, Any]) -> Options:
    try:
        read = msgspec.convert(options, Options, strict=False)
    except msgspec.ValidationError as exc:
        raise FluxError(errno.EINVAL, f".priority-fairshare: {exc}") from None
    highest = read.weight + FLUX_JOB_URGENCY_EXPEDITE * read.urgency_weight
    if min(read.weight, read.urgency_weight) < 0 or highest >= FLUX_JOB_PRIORITY_MAX:
        raise FluxError(
            errno.EINVAL, ".priority-fairshare: weights must be 0 or more, and no priority above the highest"
        )
    if min([read.default_share, *read.shares.values()]) < 0:
        raise FluxError(errno.EINVAL, ".priority-fairshare: shares must be 0 or more")
    return read


def _seconds(name: str, text: str | float) -> float:
    try:
        value = parse_fsd(str(text))
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f".priority-fairshare: {name}: {exc}") from None
    if value <= 0:
        raise FluxError(errno.EINVAL, f".priority-fairshare: {name} must be longer than 0, not {text}")
    return value


def _userid(user: str) -> int:
    if user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise FluxError(errno.EINVAL, f".priority-fairshare: there is no user {user}") from None
