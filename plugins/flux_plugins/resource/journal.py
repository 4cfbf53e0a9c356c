"""The resource eventlog and its journal (RFC 44)."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flux.errors import FluxError
from flux.eventlog import Event as Entry
from flux.message import Message
from flux.module import Module, Subscribers

__all__ = ["PERSISTENT", "Journal", "journal_limit"]

PERSISTENT = frozenset({"restart", "resource-define", "resource-update", "drain", "undrain"})
"""Events that go into the KVS key resource.eventlog too."""

MAX_EVENTS = 100_000
"""How many events are held by default."""

Event = dict[str, Any]


def journal_limit(table: Mapping[str, Any]) -> int:
    """`journal-max` of the table [resource]. FluxError EINVAL when it is no number >= 2."""
    limit = table.get("journal-max", MAX_EVENTS)
    if type(limit) is not int or limit < 2:
        raise FluxError(errno.EINVAL, f"[resource] journal-max must be an integer >= 2, not {limit!r}")
    return limit


class Journal:
    """All events of this run, and who follows them.

    Args:
        store: called with each event that is to be kept in the KVS.

    Attributes:
        limit: events that are held; when there are more, the older half goes.
    """

    def __init__(self, module: Module, store: Callable[[Event], None]) -> None:
        self._module = module
        self._store = store
        self.limit = MAX_EVENTS
        self._events: list[Event] = []
        self._R: dict[str, Any] | None = None
        self._followers = Subscribers(module)

    def post(self, name: str, context: dict[str, Any], R: dict[str, Any] | None = None) -> float:
        """Post an event; gives its time in seconds since the epoch. R goes with resource-define."""
        now = time.time()
        event: Event = {"timestamp": now, "name": name, "context": context}
        if R is not None:
            self._R = R
        self._keep(event)
        self._followers.publish(self._response([event]))
        if name in PERSISTENT:
            self._store(event)
        return now

    def remember(self, events: Iterable[Entry]) -> None:
        """What happened in earlier runs comes before what has happened in this one."""
        earlier = [{"timestamp": entry.timestamp, "name": entry.name, "context": entry.context} for entry in events]
        self._events[:0] = earlier[-self.limit // 2 :]

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > self.limit:
            last = self._events[self.limit // 2]
            self._events[: self.limit // 2 + 1] = [{"timestamp": last["timestamp"], "name": "truncate"}]

    def _response(self, events: list[Event]) -> dict[str, Any]:
        if events[0]["name"] == "resource-define":
            return {"events": events, "R": self._R}
        return {"events": events}

    def follow(self, msg: Message) -> None:
        """Answer a journal request: the events so far, the sentinel, then what happens."""
        for events in self._batches():
            self._module.respond(msg, self._response(events))
        self._module.respond(msg, {"events": []})
        self._followers.add(msg)

    def _batches(self) -> Iterator[list[Event]]:
        batch: list[Event] = []
        for event in self._events:
            if event["name"] != "resource-define":
                batch.append(event)
                continue
            if batch:
                yield batch
            yield [event]
            batch = []
        if batch:
            yield batch

    def __len__(self) -> int:
        return len(self._events)
