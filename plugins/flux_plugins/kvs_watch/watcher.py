"""One watch: what the client asked for, what it has been told, and so what to tell it next. No I/O."""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import (
    FLUX_KVS_STREAM,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_INITIAL_SENTINEL,
    FLUX_KVS_WATCH_UNIQ,
)
from flux.errors import EndOfStream, FluxError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj
from flux_plugins.kvs_watch.requests import Blobs

if TYPE_CHECKING:
    from flux.message import Message

__all__ = ["Outcome", "Watcher", "check_flags"]

_WATCH_MODES = FLUX_KVS_WATCH_FULL | FLUX_KVS_WATCH_UNIQ | FLUX_KVS_WATCH_APPEND
_FIRST_LOAD, _MOST_LOADS = 8, 256
_OWN_FLAGS = _WATCH_MODES | FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE | FLUX_KVS_STREAM | FLUX_KVS_WATCH_INITIAL_SENTINEL


class Outcome(NamedTuple):
    """What a new result means for the client: responses to send, and the error that ends the watch, if it ends.

    A watch that is not streaming ends with its first response, without an error: done is True.
    """

    responses: list[dict[str, Any] | None]
    error: FluxError | None = None
    done: bool = False


def check_flags(flags: int, streaming: bool) -> None:
    """FluxError EPROTO, EINVAL for flags that do not go together."""
    if flags & (FLUX_KVS_WATCH | FLUX_KVS_STREAM) and not streaming:
        raise FluxError(errno.EPROTO, "KVS watch request rejected without streaming RPC flag")
    if flags & FLUX_KVS_WATCH and flags & FLUX_KVS_STREAM:
        raise FluxError(errno.EINVAL, "FLUX_KVS_WATCH and FLUX_KVS_STREAM exclude each other")
    if flags & _WATCH_MODES and not flags & FLUX_KVS_WATCH:
        raise FluxError(errno.EINVAL, "FLUX_KVS_WATCH_FULL, _UNIQ and _APPEND need FLUX_KVS_WATCH")
    if flags & FLUX_KVS_WATCH_INITIAL_SENTINEL and not flags & FLUX_KVS_WATCH_APPEND:
        raise FluxError(errno.EINVAL, "FLUX_KVS_WATCH_INITIAL_SENTINEL needs FLUX_KVS_WATCH_APPEND")


class Watcher:
    """A client's watch of one key.

    Attributes:
        roots: roots that have not been looked at yet, oldest first.
        busy: a look at one is under way, or what it gave is not taken yet.
        offset: number of blobs sent so far; None when the watch is not by blobs.
        ahead: how many blobs to load at once.
        window: see `WatchRequest`. untaken: bytes of blobs under way.
        closing: the error that ends the watch once it has told of all its roots.
    """

    __slots__ = (
        "_last",
        "_previous",
        "_started",
        "ahead",
        "busy",
        "closing",
        "ended",
        "flags",
        "key",
        "msg",
        "offset",
        "roots",
        "untaken",
        "window",
    )

    def __init__(self, msg: Message, key: str, flags: int, window: int = 0) -> None:
        self.msg = msg
        self.key = key
        self.flags = flags
        self.roots: deque[str] = deque()
        self.busy = self.ended = False
        self.offset: int | None = 0 if flags & (FLUX_KVS_WATCH_APPEND | FLUX_KVS_STREAM) else None
        self._started = False
        self._previous: TreeObj | None = None
        self._last = ""
        self.ahead = _FIRST_LOAD
        self.window, self.untaken = window, 0
        self.closing: FluxError | None = None

    @property
    def may_look(self) -> bool:
        """True when there is a root to look at, and room for what it gives."""
        has_room = not self.window or self.untaken < self.window
        return has_room and bool(self.roots) and not self.busy and not self.ended

    @property
    def full(self) -> bool:
        """True when every new root is of interest, not only those that name the key."""
        return bool(self.flags & FLUX_KVS_WATCH_FULL)

    @property
    def lookup_flags(self) -> int:
        return self.flags & ~_OWN_FLAGS

    @property
    def is_behind(self) -> bool:
        """True when appends that are there have not been sent yet."""
        return self.offset is not None and (self.busy or bool(self.roots))

    def add_root(self, rootref: str) -> None:
        """There is a new root to look at; those who follow appends need only the newest, a stream the first."""
        if self.offset and self.flags & FLUX_KVS_STREAM:
            return
        if self.offset is not None:
            self.roots.clear()
        self.roots.append(rootref)

    def on_value(self, obj: TreeObj) -> Outcome:
        """The object under the key, as of one root."""
        if self._started and self.flags & (FLUX_KVS_WATCH_UNIQ | FLUX_KVS_WATCH_FULL) and obj == self._previous:
            return Outcome([])
        self._started, self._previous = True, obj
        return Outcome([{"val": obj}], done=not self.flags & FLUX_KVS_WATCH)

    def on_blobs(self, value: Blobs, rootref: str = "") -> Outcome:
        """Blobs under the key that have not been sent yet, as of one root, which is looked at again for the others."""
        assert self.offset is not None
        if value.total < self.offset or (self.offset and value.before != self._last):
            return Outcome([], FluxError(errno.EINVAL, f"{self.key} was overwritten while its appends were watched"))
        responses: list[dict[str, Any] | None] = [{"val": treeobj.val(blob)} for blob in value.blobs]
        self.offset, self._last = self.offset + len(value.blobs), value.last
        self.untaken += sum(map(len, value.blobs))
        self.ahead = max(1, min(2 * len(value.blobs), _MOST_LOADS)) if value.blobs else self.ahead
        if self.offset < value.total:
            if not self.roots or self.flags & FLUX_KVS_STREAM:
                self.roots = deque((rootref,))
            return Outcome(responses)
        if not self._started and self.flags & FLUX_KVS_WATCH_INITIAL_SENTINEL:
            responses.append(None)
        self._started = True
        return Outcome(responses, EndOfStream() if self.flags & FLUX_KVS_STREAM else None)

    def on_error(self, error: FluxError) -> Outcome:
        """The lookup failed, as of one root."""
        if error.errno == errno.ENOENT and not self._started and self.flags & FLUX_KVS_WAITCREATE:
            return Outcome([])
        return Outcome([], error)
