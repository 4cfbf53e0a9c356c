"""What the KVS keeps in memory of the content store: decoded directories and value blobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flux.kvs.hdir import Hdir, bucket_of
from flux.kvs.treeobj import TreeObj
from flux_plugins.kvs.packed import ENOTRECOVERABLE, Packed, open_dir, unpacked

__all__ = ["ENOTRECOVERABLE", "Missing", "TreeCache", "Unread"]

T = TypeVar("T")
V = TypeVar("V")

_LIMIT = 32 << 20
_OVERHEAD = 450  # bytes of an entry beside its value
_SUPERSEDED = 32


class Missing(Exception):
    """Blobs that must be loaded before one can go on; never an error that a client sees.

    Attributes:
        refs: their blobrefs.
        names: when one of them is a directory, what is wanted in it: the rest of a key.
    """

    def __init__(self, refs: list[str]) -> None:
        super().__init__(refs)
        self.refs = refs
        self.names: list[str] = []


class Unread(Missing):
    """A large directory that is wanted whole: see `TreeCache.whole`."""


class _Recent(Generic[V]):
    """A mapping whose cost, in bytes, is bounded: what was not used for longest goes first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self.cost = 0

    def get(self, key: str) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: str, value: V, cost: int) -> None:
        self.pop(key)
        self._values[key] = (value, cost)
        self.cost += cost
        while self.cost > self.limit:
            self.cost -= self._values.popitem(last=False)[1][1]

    def pop(self, key: str) -> None:
        """Forget one."""
        found = self._values.pop(key, None)
        if found is not None:
            self.cost -= found[1]

    def __len__(self) -> int:
        return len(self._values)


class TreeCache:
    """Directories and blobs by blobref. What is in it is shared and must not be changed.

    Args:
        dirs_limit, blobs_limit: bytes of memory that decoded directories, and the blobs of values, may take.

    Attributes:
        gathered: large directories that were read for a `whole` to come.
        held: blobs that are kept, however full the cache is, until whoever put them there takes them out.
    """

    def __init__(self, dirs_limit: int = _LIMIT, blobs_limit: int = _LIMIT) -> None:
        self._dirs: _Recent[Packed | Hdir] = _Recent(dirs_limit)
        self._blobs: _Recent[bytes] = _Recent(blobs_limit)
        self.gathered: dict[str, Packed] = {}
        self.held: dict[str, bytes] = {}
        self._lent: dict[str, bytes] = {}
        self._superseded: dict[str, None] = {}

    def node(self, ref: str, keep: bool = True) -> Packed | Hdir:
        """A stored directory: its entries, or its buckets.

        Args:
            keep: whether entries are to be kept as they are decoded; buckets always are.

        Raises:
            Missing: when it is not in memory.
            FluxError: ENOTRECOVERABLE when the blob is no directory.
        """
        node = self._dirs.get(ref)
        if node is None:
            blob = self._blob(ref)
            if blob is None:
                raise Missing([ref])
            node = open_dir(ref, blob)
            if keep or isinstance(node, Hdir):
                self._keep_dir(ref, node, blob)
        return node

    def nodes(self, refs: list[str]) -> list[Packed | Hdir]:
        """Stored directories. Missing names all that are not in memory."""
        found: list[Packed | Hdir] = []
        missing: list[str] = []
        for ref in refs:
            try:
                found.append(self.node(ref))
            except Missing:
                missing.append(ref)
        if missing:
            raise Missing(missing)
        return found

    def entry(self, ref: str, name: str, passed: list[str] | None = None) -> TreeObj | None:
        """The entry of a name in a stored directory, None when there is none. Errors: see `node`.

        Args:
            passed: gets the blobrefs of what was read.
        """
        node = self.node(ref)
        if passed is not None:
            passed.append(ref)
        while isinstance(node, Hdir):
            bucket = node.refs[bucket_of(name, node.level, len(node.refs), node.func)]
            if bucket is None:
                return None
            node = self.node(bucket)
            if passed is not None:
                passed.append(bucket)
        entry = node.get(name)
        return None if entry is None else unpacked(entry)

    def whole(self, ref: str) -> dict[str, TreeObj]:
        """All entries of a stored directory.

        Raises:
            Unread: it is large; it is to be put into `gathered` first, from where it is taken.
        """
        node = self.node(ref)
        if isinstance(node, Hdir):
            gathered = self.gathered.pop(ref, None)
            if gathered is None:
                raise Unread([ref])
            node = gathered
        return {name: unpacked(entry) for name, entry in node.items()}

    def blobs(self, refs: list[str]) -> list[bytes]:
        """Blobs by reference. Missing names all that are not in memory."""
        found = [self._blob(ref) for ref in refs]
        blobs = [blob for blob in found if blob is not None]
        if len(blobs) < len(refs):
            raise Missing([ref for ref, blob in zip(refs, found, strict=True) if blob is None])
        return blobs

    def _blob(self, ref: str) -> bytes | None:
        blob = self._blobs.get(ref)
        if blob is None:
            blob = self._lent.get(ref)
        return self.held.get(ref) if blob is None else blob

    def lending(self, blobs: dict[str, bytes], function: Callable[[], T]) -> T:
        """The result of function, for which these blobs are there too, however full the cache is."""
        self._lent = blobs
        try:
            return function()
        finally:
            self._lent = {}

    def put_dir(self, ref: str, blob: bytes, hdir: Hdir | None = None) -> None:
        """Keep a stored directory as it is encoded. hdir: what it is, when it is one in buckets."""
        self._superseded.pop(ref, None)
        if hdir is not None:
            self._keep_dir(ref, hdir, blob)
        self.put_blob(ref, blob)

    def _keep_dir(self, ref: str, node: Packed | Hdir, blob: bytes) -> None:
        self._dirs.put(ref, node, _memory_of(node, blob))

    def supersede(self, ref: str) -> None:
        """A stored directory has another one in its place: it is forgotten soon, unless it comes to be in use again."""
        self._superseded.pop(ref, None)
        self._superseded[ref] = None
        if len(self._superseded) > _SUPERSEDED:
            oldest = next(iter(self._superseded))
            del self._superseded[oldest]
            self._dirs.pop(oldest)
            self._blobs.pop(oldest)

    def put_blob(self, ref: str, blob: bytes) -> None:
        self._blobs.put(ref, blob, len(blob) + _OVERHEAD)

    def drop(self) -> None:
        self._dirs.clear()
        self._blobs.clear()

    def stats(self) -> dict[str, Any]:
        """How many there are, and bytes of memory that they take, about."""
        size = self._dirs.cost + self._blobs.cost
        return {"directories": len(self._dirs), "blobs": len(self._blobs), "size": size}


def _memory_of(node: Packed | Hdir, blob: bytes) -> int:
    """Bytes of memory that a decoded directory takes, about."""
    return _OVERHEAD + (len(blob) * 3 // 2 if isinstance(node, Hdir) else len(blob) * 5)
