"""sched-backfill: a job may start before those ahead of it if it delays none of them.

Jobs at the head of the queue are promised resources from the time on at which time limits make room for them. Any
other may start at once where it keeps clear of all promises: as many promises as jobs makes the scheduler
conservative, a single one makes it what is known as EASY. A job without a time limit ends when the instance does.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from flux.allocation.node import Fit, choose
from flux.allocation.pool import Unsatisfiable
from flux.errors import FluxError
from flux_plugins.sched.driver import Forecast, Placed, Scheduler
from flux_plugins.sched.forecast import FORECAST_JOBS, reason
from flux_plugins.sched.queue import Pending
from flux_plugins.sched.settings import UNLIMITED, queue_depth
from flux_plugins.sched.timeline import Slot, Timeline

__all__ = ["SchedBackfill"]

_SHORTEST = 1.0  # seconds that a job is taken to need at least, also at the end of the instance's time

_EFFORT = 300_000  # after so much, some tenths of a second, no more promises are sought in one pass


class Options(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        queue_depth: how many jobs the job manager may have waiting here, or "unlimited".
        reservations: how many jobs are promised a start, at most.
        candidates: how many jobs from the head of the queue are looked at.
        alloc_mode: which nodes come first.
    """

    queue_depth: str | int = msgspec.field(default=UNLIMITED, name="queue-depth")
    reservations: int = 32
    candidates: int = 256
    alloc_mode: Fit = msgspec.field(default="first-fit", name="alloc-mode")


class SchedBackfill(Scheduler):
    """Backfill by time limits."""

    name = "sched-backfill"
    options_type = Options

    def __init__(self) -> None:
        super().__init__()
        self._depth = queue_depth(str(self.options.queue_depth))
        for name in ("reservations", "candidates"):
            if getattr(self.options, name) < 1:
                raise FluxError(errno.EINVAL, f"{name} must be at least 1, not {getattr(self.options, name)}")

    def depth(self) -> int:
        return self._depth

    def place(self, now: float) -> Iterator[Placed]:
        promised = False
        for job, slot in self._plan(now) if self.pool.has_free() else ():
            if slot is None or slot.start > now:
                promised = True
                continue
            self.pool.take(job.id, slot.allocation)
            yield Placed(job, slot.allocation, {"selection_type": "backfilled" if promised else "immediate"})
            if not self.pool.has_free():
                return

    def forecast(self, now: float) -> Iterable[Forecast]:
        planned = {job.id: slot for job, slot in self._plan(now)}
        for job in self.queue.head(FORECAST_JOBS):
            slot = planned.get(job.id)
            told: dict[str, Any] = {"reason_pending": reason(self.pool, job)}
            if slot is not None:
                told |= {"t_estimate": round(slot.start, 1), "selection_type": "reserved"}
            yield Forecast(job, told)

    def _plan(self, now: float) -> Iterator[tuple[Pending, Slot | None]]:
        """Jobs and what they get, now or later; None for one that is promised nothing.

        It ends at a job that waits for others without a time limit: what would delay that one cannot be told. One
        that waits for nodes which are down is passed over.
        """
        timeline = Timeline(self.pool, now, self.options.alloc_mode)
        promises = self.options.reservations
        for job in self.queue.head(self.options.candidates):
            try:
                nodes = self.pool.candidates(job.request.constraint)
            except Unsatisfiable as exc:
                self.deny(job, str(exc))
                continue
            duration = max((self.end_of(job.request, now) or math.inf) - now, _SHORTEST)
            find = timeline.find if promises else timeline.find_now
            slot = find(job.request, duration)
            if slot is not None:
                timeline.use(slot.start, slot.start + duration, slot.allocation)
                if slot.start > now:
                    promises = promises - 1 if timeline.effort < _EFFORT else 0
            elif promises and choose([node.emptied() for node in nodes if node.up], job.request) is not None:
                return
            yield job, slot
