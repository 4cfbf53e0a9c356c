"""Eventlogs: events as JSON lines, read in any chunks, and shown to people (RFC 18; flux-job(1) eventlog)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

if TYPE_CHECKING:
    from flux.job.event import EventLogEvent

__all__ = ["Event", "EventLogFormatter", "EventlogDecoder", "decode", "encode"]


_YEAR_10000 = 253402300800


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event: timestamp (seconds since the epoch, > 0), name, context (an object, or none)."""

    timestamp: Annotated[float, msgspec.Meta(gt=0, lt=_YEAR_10000)]
    name: str
    context: dict[str, Any] = {}

    def encode(self) -> str:
        """Return the event as one line, newline included."""
        return _encoder.encode(self).decode() + "\n"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(events: Iterable[Event]) -> str:
    """Return the eventlog text of ``events``."""
    return "".join(event.encode() for event in events)


def decode(text: str | bytes) -> list[Event]:
    """Return the events of a whole eventlog.  ValueError names the line that is no event."""
    decoder = EventlogDecoder()
    events = decoder.feed(text)
    decoder.finish()
    return events


class EventlogDecoder:
    """Turn an eventlog that arrives in chunks, cut anywhere, into events."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines = 0

    def feed(self, chunk: str | bytes) -> list[Event]:
        """Return the events completed by ``chunk``.  ValueError names the line that is no event."""
        data = self._rest + (chunk.encode() if isinstance(chunk, str) else chunk)
        *lines, self._rest = data.split(b"\n")
        return [self._event(line) for line in lines]

    def finish(self) -> None:
        """Check that no event is left half way; ValueError when one is."""
        if self._rest:
            raise ValueError(f"eventlog line {self._lines + 1} is not terminated: {_shown(self._rest)}")

    def _event(self, line: bytes) -> Event:
        self._lines += 1
        try:
            return _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise ValueError(f"eventlog line {self._lines} is no event: {e}: {_shown(line)}") from None


TimestampFormat = Literal["raw", "iso", "offset", "human", "reltime"]

_COLOURS = {
    "date": "\033[1m\033[32m",
    "time": "\033[32m",
    "name": "\033[33m",
    "exception": "\033[1m\033[31m",
    "key": "\033[34m",
}
_VALUE_COLOURS: dict[type, str] = {int: "\033[37m", float: "\033[37m"}
_VALUE_COLOUR = "\033[35m"
_RESET = "\033[0m"


class EventLogFormatter:
    """Show events of one eventlog, one line each.

    format: "text" or "json".  timestamp_format: "raw" (seconds since the epoch), "iso" (UTC), "offset"
    (seconds since the first event), "human" or "reltime" (local date, then seconds since that date, as dmesg does).
    color: whether to use it, or "always", "never", or "auto": when standard output is a terminal.
    """

    def __init__(
        self,
        format: Literal["text", "json"] = "text",
        timestamp_format: TimestampFormat = "raw",
        color: bool | str = False,
    ) -> None:
        if format not in ("text", "json"):
            raise ValueError(f"eventlog format: expected text or json, got '{format}'")
        if timestamp_format not in ("raw", "iso", "offset", "human", "reltime"):
            raise ValueError(f"timestamp format: expected raw, iso, offset or human, got '{timestamp_format}'")
        if color not in (True, False, "always", "never", "auto"):
            raise ValueError(f"color: expected always, never or auto, got '{color}'")
        self._format = format
        self._timestamp_format = timestamp_format
        self._color = sys.stdout.isatty() if color == "auto" else color in (True, "always")
        self._first: float | None = None
        self._dated: float | None = None

    def format(self, entry: Event | Mapping[str, Any] | EventLogEvent) -> str:
        """Return the line for an event, without newline.  Events must be given in order."""
        event = entry if isinstance(entry, Event) else msgspec.convert(dict(entry), Event)
        if self._format == "json":
            return event.encode().rstrip("\n")
        if self._first is None:
            self._first = event.timestamp
        words = [
            self._timestamp(event.timestamp, self._first),
            self._paint("exception" if event.name == "exception" else "name", event.name),
        ]
        return " ".join([*words, *self._context(event.context)])

    def _timestamp(self, timestamp: float, first: float) -> str:
        match self._timestamp_format:
            case "raw":
                return self._paint("time", f"{timestamp:.6f}")
            case "iso":
                date = datetime.fromtimestamp(timestamp, UTC)
                return self._paint("time", date.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            case "offset":
                return self._paint("time", f"{timestamp - first:15.6f}")
        return self._human(timestamp)

    def _human(self, timestamp: float) -> str:
        if self._dated is not None and timestamp - self._dated < 60:
            return self._paint("time", f"[{timestamp - self._dated:+11.6f}]")
        self._dated = timestamp
        return self._paint("date", datetime.fromtimestamp(timestamp).strftime("[%b%d %H:%M]"))

    def _context(self, context: Mapping[str, Any]) -> Iterable[str]:
        for key, value in context.items():
            text = msgspec.json.encode(value).decode()
            if self._color:
                text = f"{_VALUE_COLOURS.get(type(value), _VALUE_COLOUR)}{text}{_RESET}"
            yield f"{self._paint('key', key)}={text}"

    def _paint(self, part: str, text: str) -> str:
        return f"{_COLOURS[part]}{text}{_RESET}" if self._color else text


def __getattr__(name: str) -> Any:
    if name == "EventLogEvent":
        from flux.job.event import EventLogEvent

        return EventLogEvent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _shown(line: bytes) -> str:
    text = line.decode(errors="backslashreplace")
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
