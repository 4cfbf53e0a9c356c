"""A large directory that is open for writing: of its buckets only those that are needed (RFC 11 hdir)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flux.kvs.hdir import Hdir, bucket_of
from flux_plugins.kvs.cache import Missing

__all__ = ["LargeDir"]

OpenDir = Callable[[str], "dict[str, Any] | LargeDir"]


class LargeDir:
    """Entries by name, like a dict that loads what it is asked for.

    Args:
        stored: what it is to begin with.
        open_dir: opens a bucket by its blobref.

    Attributes:
        level, total: as of `Hdir`, with the changes made.
        buckets: None, a blobref, or what was opened: a dict of entries or a LargeDir.

    Raises:
        Missing: when the bucket that an entry is or would be in has to be loaded first.
    """

    __slots__ = ("_open_dir", "buckets", "level", "total")

    def __init__(self, stored: Hdir, open_dir: OpenDir) -> None:
        self.level = stored.level
        self.total = stored.total
        self.buckets: list[str | dict[str, Any] | LargeDir | None] = list(stored.refs)
        self._open_dir = open_dir

    def _bucket(self, name: str) -> dict[str, Any] | LargeDir:
        number = bucket_of(name, self.level, len(self.buckets))
        return self._open(number)

    def _open(self, number: int) -> dict[str, Any] | LargeDir:
        bucket = self.buckets[number]
        if bucket is None:
            bucket = self.buckets[number] = {}
        elif isinstance(bucket, str):
            bucket = self.buckets[number] = self._open_dir(bucket)
        return bucket

    def get(self, name: str) -> Any:
        return self._bucket(name).get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._bucket(name)

    def __setitem__(self, name: str, entry: Any) -> None:
        bucket = self._bucket(name)
        self.total += name not in bucket
        bucket[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._bucket(name)[name]
        self.total -= 1

    def pop(self, name: str, default: Any) -> Any:
        if name not in self:
            return default
        entry = self.get(name)
        del self[name]
        return entry

    def everything(self) -> dict[str, Any]:
        """All entries. Missing names all that has to be loaded for the next step towards it."""
        entries: dict[str, Any] = {}
        missing: list[str] = []
        for number in range(len(self.buckets)):
            try:
                bucket = self._open(number)
                entries.update(bucket.everything() if isinstance(bucket, LargeDir) else bucket)
            except Missing as exc:
                missing += exc.refs
        if missing:
            raise Missing(missing)
        return entries

    def seal(self, seal: Callable[[dict[str, Any] | LargeDir, int], str]) -> list[str | None]:
        """Blobrefs of the buckets. seal: stores one that was opened, at a level, and gives its blobref."""
        below = self.level + 1
        return [
            bucket if isinstance(bucket, str | None) else seal(bucket, below) if _count(bucket) else None
            for bucket in self.buckets
        ]


def _count(bucket: dict[str, Any] | LargeDir) -> int:
    return bucket.total if isinstance(bucket, LargeDir) else len(bucket)
