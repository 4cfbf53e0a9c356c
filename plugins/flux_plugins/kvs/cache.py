"""What the KVS keeps in memory of the content store: decoded directories and value blobs."""

from __future__ import annotations

import errno
from typing import Any, Generic, TypeVar

from flux.errors import FluxError, ProtocolError
from flux.kvs.hdir import Hdir, bucket_of, decode_dir
from flux.kvs.treeobj import TreeObj

__all__ = ["Missing", "TreeCache", "Unread"]

Entries = dict[str, TreeObj]
V = TypeVar("V")

_LIMIT = 32 << 20
_DECODED = 5  # times the bytes of its encoding is what a directory takes in memory
_OVERHEAD = 250  # bytes of an entry beside its value
ENOTRECOVERABLE = errno.ENOTRECOVERABLE


class Missing(Exception):
    """Blobs that must be loaded before one can go on; never an error that a client sees.

    Attributes:
        refs: their blobrefs.
    """

    def __init__(self, refs: list[str]) -> None:
        super().__init__(refs)
        self.refs = refs


class Unread(Missing):
    """A large directory that is wanted whole: see `TreeCache.whole`."""


class _Generations(Generic[V]):
    """A mapping whose cost, in bytes, is bounded, and that forgets what was not used for a while.

    Two generations: what is used moves to the young one, and when that is full it becomes the old one and what
    the old one still held is dropped. Nothing is touched on a hit in the young one, where most are.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}
        self._cost = self._old_cost = 0

    def get(self, key: str) -> V | None:
        value = self._young.get(key)
        if value is None and key in self._old:
            cost = self._old_cost // len(self._old)
            self._old_cost -= cost
            value = self._old.pop(key)
            self.put(key, value, cost)
        return value

    def put(self, key: str, value: V, cost: int) -> None:
        self._young[key] = value
        self._cost += cost
        if self._cost > self.limit // 2:
            self._old, self._old_cost = self._young, self._cost
            self._young, self._cost = {}, 0

    def pop(self, key: str) -> None:
        """Forget one; it goes on to count until its generation is forgotten."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    @property
    def cost(self) -> int:
        return self._cost + self._old_cost

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class TreeCache:
    """Directories and blobs by blobref. What is in it is shared and must not be changed.

    Args:
        dirs_limit, blobs_limit: bytes of memory that decoded directories, and the blobs of values, may take.

    Attributes:
        gathered: large directories that were read for a `whole` to come.
        held: blobs that are kept, however full the cache is, until whoever put them there takes them out.
    """

    def __init__(self, dirs_limit: int = _LIMIT, blobs_limit: int = _LIMIT) -> None:
        self._dirs: _Generations[Entries | Hdir] = _Generations(dirs_limit)
        self._blobs: _Generations[bytes] = _Generations(blobs_limit)
        self.gathered: dict[str, Entries] = {}
        self.held: dict[str, bytes] = {}

    def node(self, ref: str) -> Entries | Hdir:
        """A stored directory: its entries, or its buckets.

        Raises:
            Missing: when it is not in memory.
            FluxError: ENOTRECOVERABLE when the blob is no directory.
        """
        node = self._dirs.get(ref)
        if node is None:
            blob = self._blobs.get(ref)
            if blob is None:
                blob = self.held.get(ref)
            if blob is None:
                raise Missing([ref])
            node = _decode_dir(ref, blob)
            self.put_dir(ref, node, len(blob))
            self._blobs.pop(ref)
        return node

    def nodes(self, refs: list[str]) -> list[Entries | Hdir]:
        """Stored directories. Missing names all that are not in memory."""
        found: list[Entries | Hdir] = []
        missing: list[str] = []
        for ref in refs:
            try:
                found.append(self.node(ref))
            except Missing:
                missing.append(ref)
        if missing:
            raise Missing(missing)
        return found

    def entry(self, ref: str, name: str) -> TreeObj | None:
        """The entry of a name in a stored directory, None when there is none. Errors: see `node`."""
        node = self.node(ref)
        while isinstance(node, Hdir):
            bucket = node.refs[bucket_of(name, node.level, len(node.refs))]
            if bucket is None:
                return None
            node = self.node(bucket)
        return node.get(name)

    def whole(self, ref: str) -> Entries:
        """All entries of a stored directory.

        Raises:
            Unread: it is large; it is to be put into `gathered` first, from where it is taken.
        """
        node = self.node(ref)
        if not isinstance(node, Hdir):
            return node
        entries = self.gathered.pop(ref, None)
        if entries is None:
            raise Unread([ref])
        return entries

    def blobs(self, refs: list[str]) -> list[bytes]:
        """Blobs by reference. Missing names all that are not in memory."""
        found = [self._blobs.get(ref) for ref in refs]
        blobs = [blob for blob in found if blob is not None]
        if len(blobs) < len(refs):
            raise Missing([ref for ref, blob in zip(refs, found, strict=True) if blob is None])
        return blobs

    def put_dir(self, ref: str, node: Entries | Hdir, size: int) -> None:
        """Keep a stored directory whose encoding is size bytes long."""
        self._dirs.put(ref, node, size * _DECODED + _OVERHEAD)

    def put_blob(self, ref: str, blob: bytes) -> None:
        self._blobs.put(ref, blob, len(blob) + _OVERHEAD)

    def drop(self) -> None:
        self._dirs.clear()
        self._blobs.clear()

    def stats(self) -> dict[str, Any]:
        """How many there are, and bytes of memory that they take, about."""
        size = self._dirs.cost + self._blobs.cost
        return {"directories": len(self._dirs), "blobs": len(self._blobs), "size": size}


def _decode_dir(ref: str, blob: bytes) -> Entries | Hdir:
    try:
        return decode_dir(blob)
    except ProtocolError as exc:
        raise FluxError(ENOTRECOVERABLE, f"{ref} should be a directory: {exc}") from None
