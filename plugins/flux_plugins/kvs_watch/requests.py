"""Payloads of kvs-watch, and what it reads of the kvs service."""

from __future__ import annotations

import msgspec

__all__ = ["Blobs", "Root", "SetrootEvent", "WatchRequest"]


class WatchRequest(msgspec.Struct):
    """kvs-watch.lookup."""

    namespace: str
    key: str
    flags: int = 0


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
    """Answer of kvs.fetch with an offset: how many blobs a value has, those from the offset on, and the references
    of the blob before them and of the last; "" when there is none."""

    total: int
    blobs: list[bytes]
    before: str
    last: str
