"""When a scheduler's passes run: soon after an event, and once for many that come faster than a pass takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.scheduler import Scheduler

__all__ = ["Pace"]


class _Mean:
    """A moving mean that forgets: new = alpha * sample + (1 - alpha) * old."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self.value = 0.0

    def add(self, sample: float) -> None:
        self.value = self._alpha * sample + (1 - self._alpha) * self.value if self.value else sample


class _Steps:
    """Runs a function that may be a generator, which then goes on in each turn of the loop.

    Args:
        done: called at its end with the seconds that a function took which is no generator, else with None.
    """

    def __init__(self, handle: Flux, function: Callable[[], Any], done: Callable[[float | None], None]) -> None:
        self._handle = handle
        self._function = function
        self._done = done
        self._running: Iterator[Any] | None = None
        self.passes = self.yields = 0

    @property
    def busy(self) -> bool:
        return self._running is not None

    def start(self) -> None:
        begun = time.monotonic()
        result = self._function()
        if isinstance(result, Iterator):
            self._running = result
            self._step(result)
        else:
            self._finish(time.monotonic() - begun)

    def abort(self) -> None:
        running, self._running = self._running, None
        if running is not None and hasattr(running, "close"):
            running.close()

    def _step(self, running: Iterator[Any]) -> None:
        if running is not self._running:
            return  # another pass has begun
        try:
            next(running)
        except StopIteration:
            self._running = None
            self._finish(None)
        else:
            self.yields += 1
            self._handle.call_soon(lambda: self._step(running))

    def _finish(self, seconds: float | None) -> None:
        self.passes += 1
        self._done(seconds)


class Pace:
    """The passes of one scheduler.

    Args:
        most: seconds that a pass waits at most. alpha: weight of the newest sample in the means.

    Attributes:
        pending: True while a pass is about to begin.
    """

    def __init__(self, handle: Flux, scheduler: Scheduler, most: float, alpha: float) -> None:
        self._handle = handle
        self._scheduler = scheduler
        self._most = most
        self.pending = False
        self._requested = 0.0
        self._delay = 0.0
        self._interval, self._duration = _Mean(alpha), _Mean(alpha)
        self._schedule = _Steps(handle, lambda: scheduler.schedule(), self._scheduled)
        self._forecast = _Steps(handle, lambda: scheduler.forecast(), lambda _seconds: None)

    def request(self) -> None:
        """Have a pass, unless one is about to begin."""
        now = time.monotonic()
        if self._requested:
            self._interval.add(now - self._requested)
        self._requested = now
        if not self.pending:
            self.pending = True
            self._scheduler.start_schedule()

    def start(self) -> None:
        """Begin a pass after the delay; one that runs is ended."""
        self._schedule.abort()
        self._handle.call_later(self._delay, self._begin)

    def _begin(self) -> None:
        self.pending = False
        self._schedule.start()

    def _scheduled(self, seconds: float | None) -> None:
        if seconds is not None:
            self._duration.add(seconds)
            fast = self._interval.value < self._duration.value
            self._delay = min(self._duration.value, self._most) if fast else 0.0
        if not self._forecast.busy:
            self._forecast.start()

    def stats(self) -> dict[str, Any]:
        return {
            "sched_passes": self._schedule.passes,
            "sched_yields": self._schedule.yields,
            "forecast_passes": self._forecast.passes,
            "forecast_yields": self._forecast.yields,
            "sched_delay": self._delay,
            "sched_duration_ewma": self._duration.value,
            "sched_interval_ewma": self._interval.value,
        }
