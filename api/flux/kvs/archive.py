"""Dumping a tree of the KVS as a tar archive, and restoring it (flux-dump(1), flux-restore(1), RFC 11).

A value is a file, a symlink a symlink ("NAMESPACE::KEY" for one to another namespace), an empty directory a directory;
a key's periods are slashes. That is what stock Flux writes and reads. What tar cannot say is in pax headers that others
pass over: `FLUX.key` for keys with slashes, `FLUX.blobs` for values whose blobs have other lengths than restoring would
give, and the global header `FLUX.rootref`. With them a restored tree has the root it was dumped from, large directories
given that both instances have the same kvs.maxdirent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from flux.blobs import Storer, load_many
from flux.errors import ProtocolError
from flux.kvs import tar, treeobj
from flux.kvs.hdir import MAXDIRENT, Hdir, store_dir
from flux.kvs.pipeline import Failed, child_key, load_dirs, refuse
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["Dump", "Restore"]

_KEY = "FLUX.key"
_BLOBS = "FLUX.blobs"
_ROOTREF = "FLUX.rootref"
_INLINE = "inline"
_INLINE_BYTES = treeobj.INLINE_MAX // 4 * 3
Told = Callable[[str], None]


class Dump:
    """Writes the tree under a root to a stream.

    Args:
        handle: a blocking handle.
        out: takes bytes; nothing is sought.
        window: most requests under way, each for many blobs.
        bypass_cache: ask the backing store, not the cache.
        told: called with each key that has been written.
        failed: called for what cannot be loaded; by default that ends it with FluxError.

    Attributes:
        count: keys written.
    """

    def __init__(
        self,
        handle: Handle,
        out: IO[bytes],
        *,
        window: int = 4,
        bypass_cache: bool = False,
        told: Told | None = None,
        failed: Failed | None = None,
    ) -> None:
        self.handle = handle
        self.out = out
        self.window = window
        self.bypass_cache = bypass_cache
        self.count = 0
        self._told = told
        self._complete = failed is None
        self._failed = failed or refuse

    def write(self, rootref: str, mtime: int) -> None:
        """Write everything under the directory rootref; mtime is that of the root, in seconds since the epoch."""
        self._mtime = mtime
        if self._complete:
            self.out.write(tar.global_header({_ROOTREF: rootref}))
        level = [("", rootref)]
        while level:
            below: list[tuple[str, str]] = []
            self._write_values(self._entries(level), below)
            level = below
        self.out.write(tar.END)

    def _entries(self, level: list[tuple[str, str]]) -> Iterator[tuple[str, TreeObj]]:
        dirs = load_dirs(self.handle, level, self.window, self._failed, self.bypass_cache)
        for key, node in dirs:
            if isinstance(node, Hdir):
                yield from ((key, treeobj.dirref(ref)) for ref in node.stored)
                continue
            if not node and key:
                yield key, treeobj.directory()
            for name, entry in node.items():
                yield from _unrolled(child_key(key, name), entry)

    def _write_values(self, entries: Iterator[tuple[str, TreeObj]], below: list[tuple[str, str]]) -> None:
        """Write what is no directory, and collect the directories; what has to be loaded comes somewhat later."""
        wanted = self._write_small(entries, below)
        parts: list[bytes] = []
        failed: OSError | None = None
        for (key, last), blob in load_many(self.handle, wanted, self.window, self.bypass_cache):
            if isinstance(blob, OSError):
                failed = blob
            else:
                parts.append(blob)
            if not last:
                continue
            if failed is not None:
                self._failed(key, failed)
            else:
                lengths = None
                if len(parts) != 1 or len(parts[0]) <= _INLINE_BYTES:
                    lengths = ",".join(str(len(part)) for part in parts)
                self._write(key, b"".join(parts), lengths)
            parts, failed = [], None

    def _write_small(
        self, entries: Iterator[tuple[str, TreeObj]], below: list[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, bool], str]]:
        """Write what is at hand; give what has to be loaded: ((key, whether it is the last blob of it), blobref)."""
        for key, entry in entries:
            kind = entry["type"]
            if kind == "dirref":
                below.append((key, entry["data"][0]))
            elif kind == "valref" and entry["data"]:
                for ref in entry["data"][:-1]:
                    yield (key, False), ref
                yield (key, True), entry["data"][-1]
            elif kind == "symlink":
                self._write(key, b"", type=tar.SYMLINK, link=_link_text(entry["data"]))
            elif kind == "dir":
                self._write(key, b"", type=tar.DIRECTORY)
            else:
                data = treeobj.data_of(entry) if kind == "val" else b""
                lengths = _INLINE if kind == "val" and len(data) > _INLINE_BYTES else None
                self._write(key, data, "" if kind == "valref" else lengths)

    def _write(self, key: str, data: bytes, lengths: str | None = None, type: bytes = tar.FILE, link: str = "") -> None:
        pax = {_KEY: key} if "/" in key else {}
        if lengths is not None:
            pax[_BLOBS] = lengths
        self.out.write(tar.header(key.replace(".", "/"), len(data), self._mtime, type, link, pax))
        if data:
            self.out.write(data)
            self.out.write(tar.padding(len(data)))
        self.count += 1
        if self._told is not None:
            self._told(key)


def _unrolled(key: str, entry: TreeObj) -> Iterator[tuple[str, TreeObj]]:
    """An entry, or what is in it when it is a directory given whole."""
    if entry["type"] != "dir" or not entry["data"]:
        yield key, entry
        return
    for name, inner in entry["data"].items():
        yield from _unrolled(child_key(key, name), inner)


def _link_text(link: dict[str, str]) -> str:
    return f"{link['namespace']}::{link['target']}" if "namespace" in link else link["target"]


class Restore:
    """Reads an archive and stores its blobs; who calls decides what becomes of the root.

    Args:
        handle: a blocking handle.
        stream: gives bytes; compression is recognised, nothing is sought.
        hash_name: the instance's content hash.
        maxdirent: most entries of a directory that is stored whole, 0 is no limit: see `flux.kvs.roots.maxdirent`.
        window: most requests under way, each with many blobs.
        size_limit: pass over values longer than that, in bytes; None is unlimited.
        told, skipped: called with each key that has been taken, or passed over for its size.

    Attributes:
        count: keys taken.
    """

    def __init__(
        self,
        handle: Handle,
        stream: IO[bytes],
        hash_name: str,
        maxdirent: int,
        *,
        window: int = 16,
        bypass_cache: bool = False,
        size_limit: int | None = None,
        told: Told | None = None,
        skipped: Callable[[str, int], None] | None = None,
    ) -> None:
        self.stream = stream
        self.hash_name = hash_name
        self.maxdirent = maxdirent
        self.size_limit = size_limit
        self.count = 0
        self._storer = Storer(handle, hash_name, window, bypass_cache)
        self._rootref = ""
        self._largest = 0
        self._told = told
        self._skipped = skipped
        self._complete = True

    @property
    def blobs(self) -> int:
        """How many have been stored."""
        return self._storer.count

    def read(self) -> str:
        """Store everything; gives the blobref of the root.

        Raises:
            FluxError: EPROTO when the archive is none, is cut short or holds what no KVS does; those of content.store.
        """
        root: dict[str, Any] = {}
        for member in tar.members(self.stream, self.size_limit):
            self._take(member, root)
        rootref = self._store_dir(root)
        self._storer.finish()
        wanted = self._rootref
        comparable = wanted.startswith(f"{self.hash_name}-") and self._largest <= (self.maxdirent or MAXDIRENT)
        if comparable and wanted != rootref and self._complete:
            raise ProtocolError(f"the archive is cut short or was changed: it should give {wanted}, not {rootref}")
        return rootref

    def _take(self, member: tar.Member, root: dict[str, Any]) -> None:
        if member.type == tar.GLOBAL:
            self._rootref = member.pax.get(_ROOTREF, self._rootref)
            return
        key = member.pax.get(_KEY) or member.name.strip("/").replace("/", ".")
        if member.data is None:
            self._complete = False
            if self._skipped is not None:
                self._skipped(key, member.size)
            return
        _place(root, key, self._entry(member, key, member.data))
        self.count += 1
        if self._told is not None:
            self._told(key)

    def _entry(self, member: tar.Member, key: str, data: bytes) -> TreeObj:
        if member.type == tar.FILE:
            return self._value(key, data, member.pax.get(_BLOBS))
        if member.type == tar.SYMLINK:
            namespace, found, target = member.link.rpartition("::")
            return treeobj.symlink(target, namespace if found else None)
        if member.type == tar.DIRECTORY:
            return treeobj.directory()
        raise ProtocolError(f"{key} is neither a file, a symlink nor a directory")

    def _value(self, key: str, data: bytes, lengths: str | None) -> TreeObj:
        if lengths == _INLINE or (lengths is None and len(data) <= _INLINE_BYTES):
            return treeobj.val(data)
        if lengths is None:
            return treeobj.valref([self._storer.store(data)])
        refs: list[str] = []
        start = 0
        for length in map(int, filter(str.isdecimal, lengths.split(","))):
            refs.append(self._storer.store(data[start : start + length]))
            start += length
        if start != len(data):
            raise ProtocolError(f"the lengths of the blobs of {key} are not those of its value")
        return treeobj.valref(refs)

    def _store_dir(self, entries: dict[str, Any]) -> str:
        stored: dict[str, TreeObj] = {}
        for name, entry in entries.items():
            is_open = "ver" not in entry or not isinstance(entry["ver"], int)
            if is_open:
                entry = treeobj.dirref(self._store_dir(entry))
            elif entry["type"] == "dir":
                entry = treeobj.dirref(self._storer.store(treeobj.EMPTY_DIR))
            stored[name] = entry
        self._largest = max(self._largest, len(stored))
        return store_dir(stored, self.maxdirent, self._storer.store)


def _place(root: dict[str, Any], key: str, entry: TreeObj) -> None:
    """Put an entry into a tree of dicts; what has an integer under "ver" is an entry, not a directory of that name."""
    *parents, name = [part for part in key.split(".") if part] or [""]
    if not name:
        raise ProtocolError("an archive holds a member without a name")
    here = root
    for part in parents:
        there = here.get(part)
        if there is None or isinstance(there.get("ver"), int):
            there = here[part] = {}
        here = there
    if entry["type"] == "dir" and not isinstance(here.get(name, {"ver": 1}).get("ver"), int):
        return  # what is in the directory came before it
    here[name] = entry
