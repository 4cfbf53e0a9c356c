"""A large directory that is open for writing: of its buckets only those that are needed (RFC 11 hdir)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flux.kvs.hdir import Hdir, bucket_of, hashed_part
from flux_plugins.kvs.cache import Missing

__all__ = ["LargeDir"]

OpenDir = Callable[[str], "dict[str, Any] | LargeDir"]


class LargeDir:
    """Entries by name, like a dict that loads what it is asked for.

    Args:
        stored: what it is to begin with.
        open_dir: opens a bucket by its blobref.

    Attributes:
        level, total, func: as of `Hdir`, with the changes made.
        buckets: None, a blobref, or what was opened: a dict of entries or a LargeDir.

    Raises:
        Missing: when the bucket that an entry is or would be in has to be loaded first.
    """

    __slots__ = ("_last", "_open_dir", "buckets", "func", "level", "total")

    def __init__(self, stored: Hdir, open_dir: OpenDir) -> None:
        self.level = stored.level
        self.total = stored.total
        self.func = stored.func
        self.buckets: list[str | dict[str, Any] | LargeDir | None] = list(stored.refs)
        self._open_dir = open_dir
        self._last = _Place("", 0, {}, [])

    def _place(self, name: str) -> _Place:
        """Where a name is or would be. It is often that of the one before: the same, or the next of names in a row."""
        last = self._last
        if last.part == (name[: last.cut] if last.cut else name):
            return last
        above = [self]
        bucket = self._bucket(name)
        while isinstance(bucket, LargeDir):
            above.append(bucket)
            bucket = bucket._bucket(name)
        part = max((hashed_part(name, directory.level, directory.func) for directory in above), key=len)
        self._last = _Place(part, len(part) - len(name), bucket, above)
        return self._last

    def _bucket(self, name: str) -> dict[str, Any] | LargeDir:
        return self._open(bucket_of(name, self.level, len(self.buckets), self.func))

    def _open(self, number: int) -> dict[str, Any] | LargeDir:
        bucket = self.buckets[number]
        if bucket is None:
            bucket = self.buckets[number] = {}
        elif isinstance(bucket, str):
            bucket = self.buckets[number] = self._open_dir(bucket)
        return bucket

    def get(self, name: str) -> Any:
        return self._place(name).bucket.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._place(name).bucket

    def __setitem__(self, name: str, entry: Any) -> None:
        place = self._place(name)
        if name not in place.bucket:
            place.count(1)
        place.bucket[name] = entry

    def __delitem__(self, name: str) -> None:
        place = self._place(name)
        del place.bucket[name]
        place.count(-1)

    def pop(self, name: str, default: Any) -> Any:
        entry = self.get(name)
        if entry is None:
            return default
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

    def sealed(self, seal: Callable[[dict[str, Any] | LargeDir, int], str]) -> Hdir:
        """What it is to be stored as. seal: stores a bucket that was opened, at a level, and gives its blobref."""
        below = self.level + 1
        refs = [
            bucket if bucket is None or isinstance(bucket, str) else seal(bucket, below) if _count(bucket) else None
            for bucket in self.buckets
        ]
        return Hdir(self.level, self.total, refs, self.func)


def _count(bucket: dict[str, Any] | LargeDir) -> int:
    return bucket.total if isinstance(bucket, LargeDir) else len(bucket)


class _Place(NamedTuple):
    """The bucket of names that have a part in common, and the directories in buckets that lead there.

    Attributes:
        part: all of a name, or what is left without its last characters. cut: their number, negative; 0 is none.
    """

    part: str
    cut: int
    bucket: dict[str, Any]
    above: list[LargeDir]

    def count(self, change: int) -> None:
        for directory in self.above:
            directory.total += change
