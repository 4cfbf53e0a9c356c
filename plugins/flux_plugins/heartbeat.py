"""Publishes the event `heartbeat.pulse` at a period, on rank 0, to keep housekeeping in step.

The other ranks know by it that they still belong to the instance: one that hears none complains, and in the end gives
up its connection upstream, so that it can be made anew or the broker ends.
"""

from __future__ import annotations

import errno
import math
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import Message
from flux.module import Module, event
from flux.util import parse_fsd

__all__ = ["Heartbeat"]


class Options(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        period: seconds between pulses; a number, or a duration such as "500ms" (RFC 23).
        timeout: seconds without one after which a rank leaves its parent; "infinity" for never.
        warn_thresh: periods without one after which a rank logs a warning.
    """

    period: float | str = 2.0
    timeout: float | str = 300.0
    warn_thresh: int = 3


class Heartbeat(Module):
    """The instance's pulse."""

    name = "heartbeat"
    options_type = Options

    def __init__(self) -> None:
        self.period = _seconds(self.options.period, "period")
        self.timeout = _seconds(self.options.timeout, "timeout")
        if self.period <= 0 or self.period == math.inf:
            raise FluxError(errno.EINVAL, f"period must be a time above 0 seconds, not {self.options.period}")
        if self.options.warn_thresh < 1:
            raise FluxError(errno.EINVAL, f"warn_thresh must be 1 or more, not {self.options.warn_thresh}")
        self.count = 0
        self._timer: Any = None
        self._last = 0.0
        self._warned = False

    def start(self) -> None:
        if self.rank == 0:
            self._beat()
        else:
            self._last = self.flux.loop.time()
            self._check()

    def _beat(self) -> None:
        self.flux.event_send("heartbeat.pulse")
        self._timer = self.flux.call_later(self.period, self._beat)

    @event("heartbeat.pulse")
    def pulse(self, _msg: Message) -> None:
        self.count += 1
        self._last = self.flux.loop.time()
        self._warned = False

    def _check(self) -> None:
        """Look whether a pulse is overdue, and again when the next one would be."""
        silent = self.flux.loop.time() - self._last
        if silent >= self.timeout:
            self._give_up(silent)
        elif silent >= self.period * self.options.warn_thresh and not self._warned:
            self._warned = True
            self.log.warning(f"no heartbeat for {silent:.1f}s")
        limit = self.timeout if self._warned else min(self.timeout, self.period * self.options.warn_thresh)
        self._timer = self.flux.call_later(max(limit - silent, self.period), self._check)

    def _give_up(self, silent: float) -> None:
        text = f"no heartbeat for {silent:.1f}s"
        self.log.error(f"{text}: leaving the parent broker")
        self.flux.notify("overlay.disconnect-parent", {"reason": text}, self.rank)
        self._last = self.flux.loop.time()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def stats(self) -> dict[str, Any]:
        timeout = self.timeout if self.timeout < math.inf else -1.0
        return {
            "period": self.period,
            "timeout": timeout,
            "count": self.count,
            "warn_thresh": self.options.warn_thresh,
        }


def _seconds(value: float | str, name: str) -> float:
    try:
        return parse_fsd(value) if isinstance(value, str) else value
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"{name}: {exc}") from None
