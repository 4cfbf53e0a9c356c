"""A live view of the messages on overlay connections (`overlay.trace`); costs nothing while nobody looks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import CONTROL, RESPONSE, Message
from flux.module import Module, Subscribers

__all__ = ["ANY_PEER", "Tap", "Trace", "TraceRequest"]

Tap = Callable[[str, int, Message], None]
"""Called with "rx" or "tx", the rank of the peer (ANY_PEER for all children) and the message."""

ANY_PEER = -1


class TraceRequest(msgspec.Struct):
    """What is to be seen.

    Attributes:
        typemask: message types, or-ed. topic_glob: of topics, "" or "*" all.
        nodeid: of the peer, -1 all. full: with payloads.
    """

    typemask: int
    topic_glob: str = "*"
    nodeid: int = ANY_PEER
    full: bool = False

    def wants(self, rank: int, msg: Message) -> bool:
        if not self.typemask & msg.type or (self.nodeid >= 0 and rank not in (self.nodeid, ANY_PEER)):
            return False
        if msg.type == CONTROL:
            return self.topic_glob in ("", "*")
        return msg.topic != "overlay.trace" and fnmatchcase(msg.topic, self.topic_glob or "*")


class Trace:
    """Those who look, and what each wants to see.

    Args:
        module: the service that answers.
        switch_tap: called with the function that is to see all messages, or with None when nobody looks any more.
    """

    def __init__(self, module: Module, switch_tap: Callable[[Tap | None], None]) -> None:
        self._module, self._switch_tap = module, switch_tap
        self._streams = Subscribers(module, on_drop=self._dropped)
        self._wishes: dict[tuple[str, int], TraceRequest] = {}

    @property
    def current_tap(self) -> Tap | None:
        return self._see if self._wishes else None

    def add(self, msg: Message, wish: TraceRequest) -> None:
        self._streams.add(msg)
        self._wishes[msg.sender, msg.matchtag] = wish
        self._switch_tap(self.current_tap)

    def __len__(self) -> int:
        return len(self._wishes)

    def _dropped(self, msg: Message) -> None:
        self._wishes.pop((msg.sender, msg.matchtag), None)
        self._switch_tap(self.current_tap)

    def _see(self, prefix: str, rank: int, msg: Message) -> None:
        for request in self._streams:
            wish = self._wishes[request.sender, request.matchtag]
            if wish.wants(rank, msg):
                self._module.respond(request, _entry(prefix, rank, msg, wish.full))


def _entry(prefix: str, rank: int, msg: Message, full: bool) -> dict[str, Any]:
    errnum = msg.aux if msg.type == RESPONSE else 0
    raw = msg.raw
    return {
        "timestamp": time.time(),
        "prefix": prefix,
        "rank": rank,
        "name": None,
        "type": msg.type,
        "topic": "" if msg.type == CONTROL else msg.topic,
        "payload_size": 0 if raw is None else len(raw),
        "payload": _object(msg) if full and not errnum else None,
        "errnum": errnum,
        "errstr": (msg.payload_str or os.strerror(errnum)) if errnum else "",
    }


def _object(msg: Message) -> Any:
    try:
        return msg.payload
    except FluxError:
        return None
