"""State of a rank's content cache: blobs by digest, which of them are dirty, which may go. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["OVERHEAD", "ContentCache", "Entry"]

OVERHEAD = 250
"""Bytes of memory that it takes to keep a blob, beside the blob."""


class Entry:
    """A blob in memory.

    Attributes:
        dirty: not yet in the backing store (rank 0).
        used: time of the last access, in the clock of `ContentCache.now`.
    """

    __slots__ = ("blob", "dirty", "used")

    def __init__(self, blob: bytes, dirty: bool, used: float) -> None:
        self.blob = blob
        self.dirty = dirty
        self.used = used


class ContentCache:
    """Blobs by digest.

    Attributes:
        size: bytes held. dirty_size: those of them that the backing store has not got.
        now: the present time, set by whoever has a clock.
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.size = 0
        self.now = 0.0
        self._dirty: dict[bytes, Entry] = {}
        self.dirty_size = 0

    def get(self, digest: bytes) -> bytes | None:
        """The blob, or None when it is not here."""
        entry = self.entries.get(digest)
        if entry is None:
            return None
        self._use(digest, entry)
        return entry.blob

    def _use(self, digest: bytes, entry: Entry) -> None:
        """Keep the entries in the order of their last use, as far as the clock tells it."""
        if entry.used != self.now:
            entry.used = self.now
            self.entries[digest] = self.entries.pop(digest)

    def add(self, digest: bytes, blob: bytes, dirty: bool) -> bool:
        """Keep a blob; True when it was not here before."""
        entry = self.entries.get(digest)
        if entry is not None:
            self._use(digest, entry)
            return False
        entry = self.entries[digest] = Entry(blob, dirty, self.now)
        self.size += len(blob)
        if dirty:
            self._dirty[digest] = entry
            self.dirty_size += len(blob)
        return True

    @property
    def dirty(self) -> int:
        """Number of blobs that the backing store has not got."""
        return len(self._dirty)

    def take_dirty(self, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to limit dirty blobs with their digests, oldest first; they stay dirty until `clean`."""
        taken: list[tuple[bytes, bytes]] = []
        for digest, entry in self._dirty.items():
            taken.append((digest, entry.blob))
            if len(taken) == limit:
                break
        return taken

    def clean(self, digests: Iterator[bytes] | list[bytes]) -> None:
        """These blobs are in the backing store now."""
        for digest in digests:
            if (entry := self._dirty.pop(digest, None)) is not None:
                entry.dirty = False
                self.dirty_size -= len(entry.blob)

    def purge(self, target: int, older_than: float) -> int:
        """Forget clean blobs not used for older_than seconds until they all take at most target bytes of memory.

        Those that were not used for longest go first. Gives how many.
        """
        excess = self.cost - target
        going: list[bytes] = []
        for digest, entry in self.entries.items():
            if excess <= 0 or entry.used > self.now - older_than:
                break
            if not entry.dirty:
                going.append(digest)
                excess -= len(entry.blob) + OVERHEAD
        for digest in going:
            self._forget(digest)
        return len(going)

    @property
    def cost(self) -> int:
        """Bytes of memory that the blobs take, with what it takes to keep them."""
        return self.size + OVERHEAD * len(self.entries)

    @property
    def clean_cost(self) -> int:
        """The same, of those that can be loaded again."""
        return self.cost - self.dirty_size - OVERHEAD * len(self._dirty)

    def drop(self) -> None:
        """Forget everything that is clean."""
        for digest in [digest for digest, entry in self.entries.items() if not entry.dirty]:
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        self.size -= len(self.entries.pop(digest).blob)

    def stats(self) -> dict[str, Any]:
        count = len(self.entries)
        return {"count": count, "valid": count, "dirty": self.dirty, "size": self.size}
