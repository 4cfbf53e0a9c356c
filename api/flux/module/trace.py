"""A live view of the messages that a service lets pass (`module.trace` of RFC 5, `overlay.trace`)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import CONTROL, RESPONSE, Message
from flux.module.base import Module
from flux.module.subscribers import Subscribers

__all__ = ["ANY_PEER", "Trace", "TraceRequest"]

ANY_PEER = -1
_NEVER_SHOWN = ("module.trace", "overlay.trace")  # what shows messages would be shown for ever


class TraceRequest(msgspec.Struct):
    """What is to be seen.

    Attributes:
        typemask: message types, or-ed. topic_glob: of topics, "" or "*" all.
        names: of modules, [] all. nodeid: of the peer broker, -1 all. full: with payloads and error texts.
    """

    typemask: int
    topic_glob: str = "*"
    names: list[str] = []
    nodeid: int = ANY_PEER
    full: bool = False

    def wants(self, msg: Message, rank: int, name: str | None) -> bool:
        if not self.typemask & msg.type or (self.nodeid >= 0 and rank not in (self.nodeid, ANY_PEER)):
            return False
        if self.names and name not in self.names:
            return False
        if msg.type == CONTROL:
            return self.topic_glob in ("", "*")
        return msg.topic not in _NEVER_SHOWN and fnmatchcase(msg.topic, self.topic_glob or "*")


class Trace:
    """Those who look, and what each wants to see; `show` is to be called only while there are any.

    Args:
        module: the service that answers.
        on_change: called when somebody begins or ends to look.
    """

    def __init__(self, module: Module, on_change: Callable[[], None]) -> None:
        self._module, self._on_change = module, on_change
        self._streams = Subscribers(module, on_drop=self._dropped)
        self._wishes: dict[tuple[str, int], TraceRequest] = {}

    def add(self, msg: Message, wish: TraceRequest) -> None:
        """Answer a streaming request with what it wants to see, until its sender cancels it or goes away."""
        self._streams.add(msg)
        self._wishes[msg.sender, msg.matchtag] = wish
        self._on_change()

    def __len__(self) -> int:
        return len(self._wishes)

    def follows(self, name: str) -> bool:
        """True when somebody looks at that module."""
        return any(not wish.names or name in wish.names for wish in self._wishes.values())

    def _dropped(self, msg: Message) -> None:
        self._wishes.pop((msg.sender, msg.matchtag), None)
        self._on_change()

    def show(self, prefix: str, msg: Message, rank: int = ANY_PEER, name: str | None = None) -> None:
        """Show a message to those who want to see it: "rx" or "tx", with the peer's rank or the module's name."""
        for request in self._streams:
            wish = self._wishes[request.sender, request.matchtag]
            if wish.wants(msg, rank, name):
                self._module.respond(request, _entry(prefix, msg, rank, name, wish.full))


def _entry(prefix: str, msg: Message, rank: int, name: str | None, full: bool) -> dict[str, Any]:
    errnum = msg.aux if msg.type == RESPONSE else 0
    raw = None if errnum else msg.raw
    return {
        "timestamp": time.time(),
        "prefix": prefix,
        "rank": rank,
        "name": name,
        "type": msg.type,
        "topic": "" if msg.type == CONTROL else msg.topic,
        "payload_size": 0 if raw is None else len(raw),
        "payload": _object(msg) if full and not errnum else None,
        "errnum": errnum,
        "errstr": (msg.payload_str or os.strerror(errnum)) if full and errnum else "",
    }


def _object(msg: Message) -> Any:
    try:
        return msg.payload
    except FluxError:
        return None
