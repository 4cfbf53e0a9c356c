"""Dumping a tree of the KVS as a tar archive, and restoring it (flux-dump(1), flux-restore(1), RFC 11).

A value is a file, a symlink a symlink ("NAMESPACE::KEY" for one to another namespace), an empty directory a directory;
a key's periods are slashes. That is what stock Flux writes and reads. What tar cannot say is in pax headers that others
pass over: `FLUX.key` for keys with slashes, `FLUX.blobs` for values whose blobs have other lengths than restoring would
give, and the global header `FLUX.rootref`. With them a restored tree has the root it was dumped from.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from flux.content import digest_of, load_async, store_async
from flux.errors import ProtocolError
from flux.kvs import treeobj
from flux.kvs.pipeline import Failed, child_key, load_dirs, pipelined, refuse
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.content import RawRPC
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
        window: most values that are loaded ahead.
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
        window: int = 32,
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
            self.out.write(tarfile.TarInfo.create_pax_global_header({_ROOTREF: rootref}))
        level = [("", rootref)]
        while level:
            below: list[tuple[str, str]] = []
            for (key, entry), loads in pipelined(self._entries(level), self._start, self.window):
                if entry["type"] == "dirref":
                    below.append((key, entry["data"][0]))
                else:
                    self._write(key, entry, loads)
            level = below
        self.out.write(bytes(2 * tarfile.BLOCKSIZE))

    def _entries(self, level: list[tuple[str, str]]) -> Iterator[tuple[str, TreeObj]]:
        dirs = load_dirs(self.handle, level, self.window, self._failed, self.bypass_cache)
        for key, _ref, entries in dirs:
            if not entries and key:
                yield key, treeobj.directory()
            for name, entry in entries.items():
                yield from _unrolled(child_key(key, name), entry)

    def _start(self, item: tuple[str, TreeObj]) -> list[RawRPC]:
        if item[1]["type"] != "valref":
            return []
        return [load_async(self.handle, digest_of(ref), self.bypass_cache) for ref in item[1]["data"]]

    def _write(self, key: str, entry: TreeObj, loads: list[RawRPC]) -> None:
        kind = entry["type"]
        member = tarfile.TarInfo(key.replace(".", "/"))
        member.mtime = self._mtime
        if "/" in key:
            member.pax_headers = {_KEY: key}
        data = b""
        if kind == "symlink":
            member.type = tarfile.SYMTYPE
            member.linkname = _link_text(entry["data"])
        elif kind == "dir":
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        else:
            try:
                data = self._value(member, entry, loads)
            except OSError as exc:
                self._failed(key, exc)
                return
        self._emit(member, data)
        self.count += 1
        if self._told is not None:
            self._told(key)

    def _value(self, member: tarfile.TarInfo, entry: TreeObj, loads: list[RawRPC]) -> bytes:
        if entry["type"] == "val":
            data = treeobj.data_of(entry)
            if len(data) > _INLINE_BYTES:
                member.pax_headers = {**member.pax_headers, _BLOBS: _INLINE}
            return data
        blobs = [load.get() for load in loads]
        if len(blobs) != 1 or len(blobs[0]) <= _INLINE_BYTES:
            lengths = ",".join(str(len(blob)) for blob in blobs)
            member.pax_headers = {**member.pax_headers, _BLOBS: lengths}
        return b"".join(blobs)

    def _emit(self, member: tarfile.TarInfo, data: bytes) -> None:
        member.size = len(data)
        header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        self.out.write(header + data + bytes(-len(data) % tarfile.BLOCKSIZE))


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
        window: most blobs that are stored ahead.
        size_limit: pass over values longer than that, in bytes; None is unlimited.
        told, skipped: called with each key that has been taken, or passed over for its size.

    Attributes:
        count, blobs: keys taken, blobs stored.
    """

    def __init__(
        self,
        handle: Handle,
        stream: IO[bytes],
        hash_name: str,
        *,
        window: int = 256,
        bypass_cache: bool = False,
        size_limit: int | None = None,
        told: Told | None = None,
        skipped: Callable[[str, int], None] | None = None,
    ) -> None:
        self.handle = handle
        self.stream = stream
        self.hash_name = hash_name
        self.window = window
        self.bypass_cache = bypass_cache
        self.size_limit = size_limit
        self.count = self.blobs = 0
        self._told = told
        self._skipped = skipped
        self._complete = True
        self._under_way: list[RawRPC] = []

    def read(self) -> str:
        """Store everything; gives the blobref of the root.

        Raises:
            FluxError: EPROTO when the archive is none, is cut short or holds what no KVS does; those of content.store.
        """
        root: dict[str, Any] = {}
        try:
            with tarfile.open(fileobj=self.stream, mode="r|*") as archive:
                self._read_members(archive, root)
                wanted = archive.pax_headers.get(_ROOTREF, "")
        except (tarfile.TarError, EOFError, UnicodeError) as exc:
            raise ProtocolError(f"this is no whole tar archive: {exc}") from None
        rootref = self._store_dir(root)
        self._settle(0)
        if wanted.startswith(f"{self.hash_name}-") and wanted != rootref and self._complete:
            raise ProtocolError(f"the archive is cut short or was changed: it should give {wanted}, not {rootref}")
        return rootref

    def _read_members(self, archive: tarfile.TarFile, root: dict[str, Any]) -> None:
        for member in archive:
            key = member.pax_headers.get(_KEY) or member.name.strip("/").replace("/", ".")
            if member.isfile() and self.size_limit is not None and member.size > self.size_limit:
                self._complete = False
                if self._skipped is not None:
                    self._skipped(key, member.size)
                continue
            _place(root, key, self._entry(archive, member, key))
            archive.members = []  # type: ignore[attr-defined]
            self.count += 1
            if self._told is not None:
                self._told(key)

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo, key: str) -> TreeObj:
        if member.issym():
            namespace, found, target = member.linkname.rpartition("::")
            return treeobj.symlink(target, namespace if found else None)
        if member.isdir():
            return treeobj.directory()
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            raise ProtocolError(f"{key} is neither a file nor a symlink")
        data = content.read()
        if len(data) != member.size:
            raise ProtocolError(f"the archive ends within {key}")
        return self._value(key, data, member.pax_headers.get(_BLOBS))

    def _value(self, key: str, data: bytes, lengths: str | None) -> TreeObj:
        if lengths == _INLINE or (lengths is None and len(data) <= _INLINE_BYTES):
            return treeobj.val(data)
        if lengths is None:
            return treeobj.valref([self._store(data)])
        refs: list[str] = []
        start = 0
        for length in map(int, filter(str.isdecimal, lengths.split(","))):
            refs.append(self._store(data[start : start + length]))
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
                entry = treeobj.dirref(self._store(treeobj.EMPTY_DIR))
            stored[name] = entry
        return self._store(treeobj.encode(treeobj.directory(stored)))

    def _store(self, blob: bytes) -> str:
        ref = treeobj.blobref(blob, self.hash_name)
        self._under_way.append(store_async(self.handle, blob, self.bypass_cache))
        self.blobs += 1
        if len(self._under_way) >= 2 * self.window:
            self._settle(self.window)
        return ref

    def _settle(self, left: int) -> None:
        """Wait for all stores but the last few."""
        done = self._under_way[: len(self._under_way) - left]
        del self._under_way[: len(done)]
        for store in done:
            store.get()


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
