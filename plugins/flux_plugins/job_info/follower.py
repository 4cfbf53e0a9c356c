"""Following an eventlog in the KVS at the pace of the client that wants it, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.requests import Lookup, lookup_async
from flux.message import Message
from flux.module.congestion import congested_link

if TYPE_CHECKING:
    from flux_plugins.job_info.module import JobInfo

__all__ = ["Follower"]

_PART = 64 << 10
"""Bytes that are handled in one turn of the loop: the broker's other clients wait no longer than that takes."""
_WINDOW = 2 << 20
"""Bytes that are under way from the KVS, or here, before the client has room for them."""


class Follower:
    """Reads one key of the KVS until its end, or follows appends to it until stopped.

    Args:
        msg: the request whose client gets what is made of it.
        flags: FLUX_KVS_STREAM, or FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND, and what goes with them.
        on_data: called with whole lines; None marks the end of what was there at the start.
        on_error: called with the error that ends it: ENODATA at the end of a stream.
    """

    def __init__(
        self,
        service: JobInfo,
        msg: Message,
        key: str,
        namespace: str,
        flags: int,
        on_data: Callable[[bytes | None], None],
        on_error: Callable[[FluxError], None],
    ) -> None:
        self._service = service
        self._msg = msg
        self._on_data = on_data
        self._on_error = on_error
        self._arrived: deque[bytes | FluxError | None] = deque()
        self._taken = self._at = 0
        self._stopped = self._waiting = False
        self._lookup = lookup_async(service.flux, key, flags, namespace, window=_WINDOW)
        self._lookup.then(self._received)

    def stop(self) -> None:
        """End it; nothing is called any more."""
        if not self._stopped:
            self._stopped = True
            self._lookup.cancel()

    def _received(self, lookup: Lookup) -> None:
        if self._stopped:
            lookup.reset()
            return
        try:
            obj = lookup.get()
        except FluxError as exc:
            self._arrived.append(exc)
        else:
            lookup.reset()
            self._arrived.append(None if obj is None else treeobj.decode_val(obj))
        if not self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        self._waiting = False
        room = _PART
        while self._arrived and not self._stopped:
            if room <= 0 or congested_link(self._service, self._msg) is not None:
                self._wait()
                return
            room -= self._handle_next()

    def _wait(self) -> None:
        self._waiting = True
        link = congested_link(self._service, self._msg)
        if link is not None:
            link.when_drained(self._go_on)
        else:
            self._service.flux.call_soon(self._go_on)

    def _handle_next(self) -> int:
        """Hand on what arrived first, or a part of it; gives its bytes."""
        first = self._arrived[0]
        if isinstance(first, bytes):
            part = self._next_part(first)
            self._on_data(part)
            self._count(len(part))
            return len(part)
        self._arrived.popleft()
        if first is None:
            self._on_data(None)
        else:
            self._stopped = True
            self._on_error(first)
        return 0

    def _next_part(self, data: bytes) -> bytes:
        start, end = self._at, len(data)
        if end - start > _PART:
            end = data.find(b"\n", start + _PART) + 1 or end
        self._at = end
        if end == len(data):
            self._at = 0
            self._arrived.popleft()
        return data[start:end]

    def _count(self, count: int) -> None:
        """Let more come once much has been handed on."""
        self._taken += count
        if self._taken >= _WINDOW // 4 and not self._stopped:
            self._lookup.take(self._taken)
            self._taken = 0
