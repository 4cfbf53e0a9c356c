"""Watch the eventlogs of a job (RFC 18, RFC 21, RFC 41; manual page ``flux.job.event``)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping

from flux import jsontext
from flux.errors import FluxError
from flux.message import FLAG_STREAMING, Message
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle

__all__ = [
    "MAIN_EVENTS",
    "EventLogEvent",
    "EventStream",
    "JobEventWatchFuture",
    "JobException",
    "event_wait",
    "event_watch",
    "event_watch_async",
]

MAIN_EVENTS = frozenset(
    "submit depend priority flux-restart urgency alloc start finish release free clean debug exception".split()
)
"""Events of a job's main eventlog (RFC 21)."""

_TOPIC = "job-info.eventlog-watch"
_CANCEL_TOPIC = "job-info.eventlog-watch-cancel"


def _read(line: str | bytes) -> dict[str, Any]:
    event = jsontext.decode(line)
    if not isinstance(event, dict):
        raise ValueError(f"an event is a JSON object, not {type(event).__name__}")
    return event


class EventLogEvent:
    """One event of an eventlog.

    Args:
        event: a line of an eventlog, or what it decodes to.

    Attributes:
        timestamp: seconds since the epoch.
        name: of the event.
        context: the event's data, {} when there is none.
    """

    __slots__ = ("context", "name", "timestamp")

    def __init__(self, event: str | bytes | Mapping[str, Any]) -> None:
        entry = _read(event) if isinstance(event, str | bytes) else event
        self.timestamp: float = entry["timestamp"]
        self.name: str = entry["name"]
        self.context: dict[str, Any] = entry.get("context") or {}

    def __getitem__(self, key: str) -> Any:
        """The event as the object that it is in the eventlog: timestamp, name, context."""
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    @staticmethod
    def keys() -> tuple[str, str, str]:
        """The keys of the object."""
        return ("timestamp", "name", "context")

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key; the default for one that an event does not have."""
        return self[key] if key in self.keys() else default

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def items(self) -> list[tuple[str, Any]]:
        """The keys with their values."""
        return [(key, self[key]) for key in self]

    def values(self) -> list[Any]:
        """The values."""
        return [self[key] for key in self]

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, EventLogEvent) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.timestamp, self.name))

    @property
    def context_string(self) -> str:
        """The context as JSON, "" when there is none."""
        return jsontext.encode(self.context).decode() if self.context else ""

    def __str__(self) -> str:
        return f"{self.timestamp:.6f} {self.name} {self.context_string}".rstrip()

    def __repr__(self) -> str:
        return f"EventLogEvent({self.timestamp!r}, {self.name!r}, {self.context!r})"


class JobException(Exception):
    """An exception of a job (RFC 21).

    Attributes:
        timestamp: seconds since the epoch.
        type: such as "cancel", "exec" or "timeout".
        note: for people, may be "".
        severity: 0 is fatal to the job, 1 to 7 are not.
    """

    def __init__(self, event: EventLogEvent) -> None:
        self.timestamp = event.timestamp
        self.type: str = event.context.get("type", "")
        self.note: str = event.context.get("note", "")
        self.severity: int = event.context.get("severity", 0)
        super().__init__(self.type, self.note)

    def __str__(self) -> str:
        note = f" note={self.note}" if self.note else ""
        return f"job.exception: type={self.type} severity={self.severity}{note}"


class _Watch(RPC):
    def __init__(self, flux_handle: Handle, jobid: int, eventlog: str, flags: int) -> None:
        payload = {"id": int(jobid), "path": eventlog, "flags": flags}
        super().__init__(flux_handle, _TOPIC, payload, flags=FLAG_STREAMING)

    def cancel(self, topic: str | None = None, stop: bool = False) -> None:
        """End the stream: what was sent before still arrives, then ENODATA. stop: call no callback for that."""
        super().cancel(topic or _CANCEL_TOPIC)
        if stop:
            self.stop()


class JobEventWatchFuture(_Watch):
    """A stream of events."""

    def get_event(self, autoreset: bool = True) -> EventLogEvent | None:
        """The next event, blocking; None at the end of the stream.

        Args:
            autoreset: go on to the event after it, so that the next call gives that one.
        """
        try:
            payload = self.get()
            while payload is None:  # marks the end of what was there when the watch began
                self.reset()
                payload = self.get()
        except FluxError as exc:
            if exc.errno == errno.ENODATA:
                return None
            raise
        if autoreset:
            self.reset()
        return EventLogEvent(payload["event"])


class EventStream(_Watch):
    """Events given to a function as they arrive, which costs less than a future's callback for each.

    Args:
        eventlog: "eventlog", or a key of the job such as "guest.output".
        on_event: called with each event.
        on_end: called once, with None at the regular end, or with the error.
        flags: FLUX_JOB_EVENT_WATCH_WAITCREATE.
        on_current: called once, when all events that were there at the start have been given, if flags have
            FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL.
    """

    def __init__(
        self,
        flux_handle: Handle,
        jobid: int,
        eventlog: str,
        on_event: Callable[[EventLogEvent], Any],
        on_end: Callable[[FluxError | None], Any],
        flags: int = 0,
        on_current: Callable[[], Any] | None = None,
    ) -> None:
        self._on_event = on_event
        self._on_end = on_end
        self._on_current = on_current
        super().__init__(flux_handle, jobid, eventlog, flags)

    def receive(self, msg: Message) -> None:
        if msg.aux:
            self.fulfill(msg.error)
            return
        payload = msg.payload
        if payload is not None:
            self._on_event(EventLogEvent(payload["event"]))
        elif self._on_current is not None:
            self._on_current()

    def fulfill(self, result: Any = None) -> None:
        """The end: of the stream, or of the connection."""
        regular = not isinstance(result, FluxError) or result.errno == errno.ENODATA
        self._on_end(None if regular else result)


def event_watch_async(
    flux_handle: Handle, jobid: int, eventlog: str = "eventlog", flags: int = 0
) -> JobEventWatchFuture:
    """Watch an eventlog of a job: what is there, then each event as it comes, to the end of the eventlog.

    Args:
        eventlog: path in the job's KVS directory, such as "guest.exec.eventlog".
        flags: FLUX_JOB_EVENT_WATCH_WAITCREATE to wait for an eventlog that is not there yet.

    Errors, when an event is got: ENOENT no such job or eventlog; EPERM somebody else's job.
    """
    return JobEventWatchFuture(flux_handle, jobid, eventlog, flags)


def event_watch(flux_handle: Handle, jobid: int, eventlog: str = "eventlog", flags: int = 0) -> Iterator[EventLogEvent]:
    """`event_watch_async` as a blocking generator. Leaving it early ends the watch."""
    watch = event_watch_async(flux_handle, jobid, eventlog, flags)
    try:
        while (event := watch.get_event()) is not None:
            yield event
    finally:
        watch.cancel()


def event_wait(
    flux_handle: Handle,
    jobid: int,
    name: str,
    eventlog: str = "eventlog",
    raiseJobException: bool = True,
) -> EventLogEvent:
    """Block until a job's eventlog has an event of that name, and return it.

    Raises:
        JobException: the job got an exception first (unless raiseJobException is false).
        FluxError: ENODATA when the eventlog ended without the event; errors of `event_watch_async`.
    """
    for event in event_watch(flux_handle, jobid, eventlog):
        if event.name == name:
            return event
        if raiseJobException and event.name == "exception":
            raise JobException(event)
    raise FluxError(errno.ENODATA, f"{eventlog} of the job ended without event '{name}'")
