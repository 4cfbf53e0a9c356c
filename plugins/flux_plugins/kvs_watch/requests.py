"""Payloads of kvs-watch, and what it reads of the kvs service."""

from __future__ import annotations

import msgspec

__all__ = ["Blobs", "Root", "SetrootEvent", "TakenRequest", "WatchRequest"]


class WatchRequest(msgspec.Struct):
    """kvs-watch.lookup.

    Attributes:
        window: bytes of appends that may be under way to the client before it says what it has taken; 0 is any number.
            Such a watch ends with ENODATA when its namespace is removed and all that was appended was sent; with
            ENOTSUP, as others do, when there may be more.
    """

    namespace: str
    key: str
    flags: int = 0
    window: int = 0


class TakenRequest(msgspec.Struct):
    """kvs-watch.taken: the client of a watch with a window has done with some bytes of appends."""

    matchtag: int
    count: int


class Root(msgspec.Struct):
    """Answer of kvs.getroot."""

    owner: int
    rootref: str
    rootseq: int


class SetrootEvent(msgspec.Struct):
    """kvs.namespace-NS-setroot."""

    rootseq: int
    rootref: str
    owner: int
    keys: dict[str, None]


class Blobs(msgspec.Struct):
    """Answer of kvs.fetch with an offset: how many blobs a value has, some of those from the offset on, and the
    references of the blob before them and of the last of them; "" when there is none."""

    total: int
    blobs: list[bytes]
    before: str
    last: str
