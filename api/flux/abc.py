"""Consumers of journals: streams of events, those of the past first (manual page ``flux.abc``).

A journal is a streaming request whose responses are objects with an array `events`. One without events, the sentinel,
marks the end of the past. `flux.job.JournalConsumer` and `flux.resource.ResourceJournalConsumer` are what programs use.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.job.event import EventLogEvent

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.rpc import RPC

__all__ = ["JournalConsumerBase", "JournalEventBase"]


class JournalEventBase(EventLogEvent):
    """An event of a journal; the sentinel has an empty name."""

    __slots__ = ()

    def is_empty(self) -> bool:
        """True for the sentinel."""
        return not self.name

    def __str__(self) -> str:
        return "End of historical data stream" if self.is_empty() else super().__str__()


E = TypeVar("E", bound=JournalEventBase)


class JournalConsumerBase(ABC, Generic[E]):
    """Gives the events of a journal one by one, to `poll` or to a callback.

    Args:
        topic: of the streaming request. cancel_topic: ends it; default topic + "-cancel".
        full: begin with the events of the past, in the order of their times.
        since: leave out events that are not newer, in seconds since the epoch.
        include_sentinel: give an empty event between the past and what happens from then on.
    """

    def __init__(
        self,
        flux_handle: Flux,
        topic: str,
        cancel_topic: str | None = None,
        full: bool = True,
        since: float = 0.0,
        include_sentinel: bool = False,
    ) -> None:
        self.handle = flux_handle
        self.topic = topic
        self.cancel_topic = cancel_topic or f"{topic}-cancel"
        self.full = full
        self.since = since
        self.include_sentinel = include_sentinel
        self.rpc: RPC | None = None
        self._events: deque[E] = deque()
        self._past: list[E] | None = None  # until the sentinel has come
        self._callback: Callable[[E | None], Any] | None = None

    # -- what a journal is like

    @abstractmethod
    def process_response(self, resp: Mapping[str, Any]) -> dict[str, Any]:
        """What of a response belongs to its events: the keyword arguments of `create_event`."""

    @abstractmethod
    def create_event(self, entry: Mapping[str, Any], **kwargs: Any) -> E:
        """The object for an entry of `events`. An entry with an empty name makes the sentinel."""

    @property
    def request_payload(self) -> dict[str, Any]:
        """The request."""
        return {}

    def is_empty_response(self, resp: Mapping[str, Any]) -> bool:
        """True for the sentinel."""
        return not resp["events"]

    # -- consuming

    def start(self) -> Self:
        """Send the request; again after `stop` to begin anew."""
        self._events.clear()
        self._past = [] if self.full else None
        self.rpc = self.handle.rpc(self.topic, self.request_payload, nodeid=0, flags=FLUX_RPC_STREAMING)
        self._connect()
        return self

    def stop(self) -> None:
        """End the stream: what has come is still given, then None. RuntimeError before `start`."""
        self._started().cancel(self.cancel_topic)

    def poll(self, timeout: float = -1.0) -> E | None:
        """The next event, blocking; None at the end of the stream.

        Args:
            timeout: seconds; negative waits forever. TimeoutError when it passes.

        Raises:
            RuntimeError: before `start`.
            FluxError: the journal ended with an error, such as EPERM.
        """
        rpc = self._started()
        deadline = monotonic() + timeout
        while not self._events:
            rpc.wait_for(timeout if timeout < 0 else max(0.0, deadline - monotonic()))
            if self._ended(rpc):
                self._settle()
                break
            self._take(rpc.get())
            rpc.reset()
        return self._events.popleft() if self._events else None

    def set_callback(self, event_cb: Callable[..., Any], *args: Any, **kwargs: Any) -> Self:
        """Have event_cb(event, *args, **kwargs) called from the reactor for each event, at last with None."""
        self._callback = lambda event: event_cb(event, *args, **kwargs)
        self._connect()
        return self

    def _started(self) -> RPC:
        if self.rpc is None:
            raise RuntimeError("the journal has not been asked for: call start() first")
        return self.rpc

    def _connect(self) -> None:
        if self.rpc is not None and self._callback is not None:
            self.rpc.then(self._received)

    def _received(self, rpc: RPC) -> None:
        ended = self._ended(rpc)
        if ended:
            self._settle()
        else:
            self._take(rpc.get())
        assert self._callback is not None
        while self._events:
            self._callback(self._events.popleft())
        if ended:
            self._callback(None)
        else:
            rpc.reset()

    def _ended(self, rpc: RPC) -> bool:
        try:
            rpc.get()
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                raise
            return True
        return False

    def _take(self, resp: Mapping[str, Any]) -> None:
        if self.is_empty_response(resp):
            self._settle()
            if self.include_sentinel and self.full:
                self._events.append(self.create_event({"timestamp": 0.0, "name": ""}))
            return
        more = self.process_response(resp)
        events = (self.create_event(entry, **more) for entry in resp["events"] if entry["timestamp"] > self.since)
        (self._events if self._past is None else self._past).extend(events)

    def _settle(self) -> None:
        """The past is complete."""
        self._events.extend(sorted(self._past or (), key=lambda event: event.timestamp))
        self._past = None
