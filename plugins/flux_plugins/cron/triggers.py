"""What makes an entry run: an interval, events or dates. Pure: the time is an argument."""

from __future__ import annotations

import errno
from typing import Any, Protocol

import msgspec

from flux.errors import FluxError, ProtocolError
from flux_plugins.cron.dates import DateFields

__all__ = ["EventTrigger", "Trigger", "make_trigger"]


class Trigger(Protocol):
    """When an entry runs.

    Attributes:
        next: seconds since the epoch of the next run, None while there is none to wait for.
    """

    next: float | None

    def start(self, now: float) -> None:
        """Begin anew."""

    def advance(self, now: float) -> None:
        """`next` has been reached."""

    def as_dict(self) -> dict[str, Any]:
        """The entry's `typedata`."""


class _IntervalArgs(msgspec.Struct):
    interval: float
    after: float | None = None


class _EventArgs(msgspec.Struct):
    topic: str
    nth: int = 0
    after: int = 0
    min_interval: float = 0.0


class IntervalTrigger:
    """Every `interval` seconds, first after `after` seconds; what was missed is not made up for."""

    def __init__(self, args: _IntervalArgs) -> None:
        if args.interval <= 0 or (args.after or 0) < 0:
            raise FluxError(errno.EINVAL, f"an interval is above 0 seconds, not {args.interval:g} after {args.after}")
        self.interval = args.interval
        self.after = args.interval if args.after is None else args.after
        self.next: float | None = None

    def start(self, now: float) -> None:
        self.next = now + self.after

    def advance(self, now: float) -> None:
        assert self.next is not None
        self.next += self.interval * (1 + max(0.0, now - self.next) // self.interval)

    def as_dict(self) -> dict[str, Any]:
        return {"interval": self.interval, "after": self.after, "next_wakeup": self.next or 0.0}


class EventTrigger:
    """After `after` events of a topic, then after each `nth`; at least `min_interval` seconds apart."""

    def __init__(self, args: _EventArgs) -> None:
        if args.nth < 0 or args.after < 0 or args.min_interval < 0:
            raise FluxError(errno.EINVAL, "nth, after and min_interval cannot be negative")
        self.topic = args.topic
        self._args = args
        self.counter = 0
        self.next: float | None = None

    def start(self, now: float) -> None:
        self.counter = 0
        self.next = None

    def advance(self, now: float) -> None:
        self.next = None

    def on_event(self, now: float, lastrun: float) -> bool:
        """Count an event; True when the entry is to run now. If that is too early, `next` is set."""
        self.counter += 1
        beyond = self.counter - self._args.after
        if self.next is not None or beyond < 0 or beyond % (self._args.nth or 1):
            return False
        if now - lastrun < self._args.min_interval:
            self.next = lastrun + self._args.min_interval
            return False
        return True

    def as_dict(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self._args), "counter": self.counter}


class DateTrigger:
    """At each date that matches."""

    def __init__(self, args: dict[str, Any]) -> None:
        self._fields = DateFields(args)
        self.next: float | None = None

    def start(self, now: float) -> None:
        self.next = self._fields.next_after(now)

    def advance(self, now: float) -> None:
        self.next = self._fields.next_after(now)

    def as_dict(self) -> dict[str, Any]:
        return {"next_wakeup": self.next or 0.0, **self._fields.as_dict()}


def make_trigger(type: str, args: dict[str, Any]) -> Trigger:
    """FluxError ENOSYS for an unknown type, EPROTO or EINVAL for wrong arguments."""
    try:
        if type == "interval":
            return IntervalTrigger(msgspec.convert(args, _IntervalArgs))
        if type == "event":
            return EventTrigger(msgspec.convert(args, _EventArgs))
    except msgspec.ValidationError as exc:
        raise ProtocolError(f"args of a cron entry of type {type}: {exc}") from None
    if type != "datetime":
        raise FluxError(errno.ENOSYS, f"there is no cron entry of type {type}, only interval, event and datetime")
    return DateTrigger(args)
