"""sched-simple: first come, first served. The first job that does not fit holds up the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from flux.allocation.node import Fit
from flux.allocation.pool import Unsatisfiable
from flux_plugins.sched.driver import Forecast, Placed, Scheduler
from flux_plugins.sched.forecast import FORECAST_JOBS, first_come
from flux_plugins.sched.settings import UNLIMITED, queue_depth
from flux_plugins.sched.timeline import Timeline

__all__ = ["SchedSimple"]


class Options(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        queue_depth: how many jobs the job manager may have waiting here, or "unlimited", so that a request that
            can never be met is refused at once whatever waits before it.
        mode: the same in another spelling, "unlimited" or "limited=N".
        alloc_mode: which nodes come first.
    """

    queue_depth: str | int = msgspec.field(default=UNLIMITED, name="queue-depth")
    mode: str = ""
    alloc_mode: Fit = msgspec.field(default="first-fit", name="alloc-mode")


class SchedSimple(Scheduler):
    """First come, first served."""

    name = "sched-simple"
    options_type = Options

    def __init__(self) -> None:
        super().__init__()
        self._depth = queue_depth(str(self.options.queue_depth), self.options.mode)

    def depth(self) -> int:
        return self._depth

    def place(self, now: float) -> Iterator[Placed]:
        while (job := self.queue.first()) is not None:
            try:
                allocation = self.pool.allocate(job.id, job.request, self.options.alloc_mode)
            except (Unsatisfiable, ValueError) as exc:
                self.deny(job, str(exc))
                continue
            if allocation is None:
                return
            yield Placed(job, allocation)

    def forecast(self, now: float) -> Iterable[Forecast]:
        jobs = self.queue.head(FORECAST_JOBS)
        return first_come(self.pool, jobs, Timeline(self.pool, now, self.options.alloc_mode), now)
