"""What the KVS keeps in memory of the content store: decoded directories and value blobs."""

from __future__ import annotations

import errno
from typing import Any, Generic, TypeVar

from flux.errors import FluxError, ProtocolError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj

__all__ = ["Missing", "TreeCache"]

Entries = dict[str, TreeObj]
V = TypeVar("V")

_DIRS_LIMIT = 16 << 20
_BLOBS_LIMIT = 64 << 20
ENOTRECOVERABLE = errno.ENOTRECOVERABLE


class Missing(Exception):
    """Blobs that must be loaded before one can go on; never an error that a client sees.

    Attributes:
        refs: their blobrefs.
    """

    def __init__(self, refs: list[str]) -> None:
        super().__init__(refs)
        self.refs = refs


class _Generations(Generic[V]):
    """A mapping of bounded cost that forgets what was not used for a while.

    Two generations: what is used moves to the young one, and when that is full it becomes the old one and what
    the old one still held is dropped. Nothing is touched on a hit in the young one, where most are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}
        self._cost = 0

    def get(self, key: str) -> V | None:
        value = self._young.get(key)
        if value is None and (value := self._old.pop(key, None)) is not None:
            self.put(key, value, 1)
        return value

    def put(self, key: str, value: V, cost: int) -> None:
        self._young[key] = value
        self._cost += cost
        if self._cost > self.limit:
            self._old, self._young, self._cost = self._young, {}, 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class TreeCache:
    """Directories and blobs by blobref. What is in it is shared and must not be changed."""

    def __init__(self, dirs_limit: int = _DIRS_LIMIT, blobs_limit: int = _BLOBS_LIMIT) -> None:
        self._dirs: _Generations[Entries] = _Generations(dirs_limit)
        self._blobs: _Generations[bytes] = _Generations(blobs_limit)

    def dir(self, ref: str) -> Entries:
        """Entries of a stored directory.

        Raises:
            Missing: when it is not in memory.
            FluxError: ENOTRECOVERABLE when the blob is no directory.
        """
        entries = self._dirs.get(ref)
        if entries is None:
            blob = self._blobs.get(ref)
            if blob is None:
                raise Missing([ref])
            entries = _decode_dir(ref, blob)
            self._dirs.put(ref, entries, len(blob))
        return entries

    def blobs(self, refs: list[str]) -> list[bytes]:
        """Blobs by reference. Missing names all that are not in memory."""
        found = [self._blobs.get(ref) for ref in refs]
        blobs = [blob for blob in found if blob is not None]
        if len(blobs) < len(refs):
            raise Missing([ref for ref, blob in zip(refs, found, strict=True) if blob is None])
        return blobs

    def put_dir(self, ref: str, entries: Entries, size: int) -> None:
        """Keep a directory whose encoding is size bytes long."""
        self._dirs.put(ref, entries, size)

    def put_blob(self, ref: str, blob: bytes) -> None:
        self._blobs.put(ref, blob, len(blob) + 100)

    def drop(self) -> None:
        self._dirs.clear()
        self._blobs.clear()

    def stats(self) -> dict[str, Any]:
        return {"directories": len(self._dirs), "blobs": len(self._blobs)}


def _decode_dir(ref: str, blob: bytes) -> Entries:
    try:
        obj = treeobj.decode(blob)
    except ProtocolError as exc:
        raise FluxError(ENOTRECOVERABLE, f"{ref} should be a directory: {exc}") from None
    if obj["type"] != "dir":
        raise FluxError(ENOTRECOVERABLE, f"{ref} should be a directory, it is a {obj['type']}")
    entries: Entries = obj["data"]
    return entries
