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
        size: bytes held. now: the present time, set by whoever has a clock.
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.size = 0
        self.now = 0.0
        self._dirty: dict[bytes, Entry] = {}

    def get(self, digest: bytes) -> bytes | None:
        """The blob, or None when it is not here."""
        entry = self.entries.get(digest)
        if entry is None:
            return None
        entry.used = self.now
        return entry.blob

    def add(self, digest: bytes, blob: bytes, dirty: bool) -> bool:
        """Keep a blob; True when it was not here before."""
        entry = self.entries.get(digest)
        if entry is not None:
            entry.used = self.now
            return False
        entry = self.entries[digest] = Entry(blob, dirty, self.now)
        self.size += len(blob)
        if dirty:
            self._dirty[digest] = entry
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

    def purge(self, target: int, older_than: float) -> int:
        """Forget clean blobs not used for older_than seconds until they all take at most target bytes of memory.

        Gives how many.
        """
        count = 0
        if self._cost > target:
            limit = self.now - older_than
            for digest in [d for d, e in self.entries.items() if not e.dirty and e.used <= limit]:
                self._forget(digest)
                count += 1
                if self._cost <= target:
                    break
        return count

    @property
    def _cost(self) -> int:
        """Bytes of memory that the blobs take, with what it takes to keep them."""
        return self.size + OVERHEAD * len(self.entries)

    def drop(self) -> None:
        """Forget everything that is clean."""
        for digest in [digest for digest, entry in self.entries.items() if not entry.dirty]:
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        self.size -= len(self.entries.pop(digest).blob)

    def stats(self) -> dict[str, Any]:
        count = len(self.entries)
        return {"count": count, "valid": count, "dirty": self.dirty, "size": self.size}
