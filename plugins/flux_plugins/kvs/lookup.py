"""Looking a key up in a tree: a walk through directories and links, without I/O (flux_kvs_lookup(3))."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ
from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj
from flux_plugins.kvs.cache import ENOTRECOVERABLE, Missing, TreeCache
from flux_plugins.kvs.keys import MAX_LINKS, split_key

__all__ = ["FETCH_BYTES", "ValueBlobs", "find", "first_blobs", "interpret", "lookup", "value_blobs"]

FETCH_BYTES = 1 << 20
"""Blobs of a value are given until they have this many bytes, so that much of it does not take memory at once."""

RootOf = Callable[[str], str]
"""Gives the root blobref of a namespace that a symlink leads to; raises when the caller may not go there."""


def lookup(cache: TreeCache, rootref: str, key: str, flags: int, root_of: RootOf) -> TreeObj:
    """The object under a key, as the lookup flags ask for it.

    Raises:
        Missing: blobs have to be loaded first; Unread: a large directory has to be gathered.
        FluxError: ENOENT no such key; EISDIR, ENOTDIR, EINVAL it is something else than the flags say;
            ELOOP more than 10 symlinks; ENOTRECOVERABLE a damaged tree.
    """
    follow = not flags & (FLUX_KVS_TREEOBJ | FLUX_KVS_READLINK)
    if flags & FLUX_KVS_READLINK and not flags & FLUX_KVS_TREEOBJ and not split_key(key):
        raise FluxError(errno.EISDIR)  # of the root, and of it alone, this is said before whether it is a link
    return interpret(cache, find(cache, rootref, key, root_of, follow), flags)


def find(cache: TreeCache, rootref: str, key: str, root_of: RootOf, follow: bool = True) -> TreeObj:
    """The entry under a key as it is stored.

    Args:
        follow: whether to go on when the last part is a symlink.
    """
    path = split_key(key)
    entry = treeobj.dirref(rootref)
    i = links = 0
    while i < len(path):
        try:
            found = _entry_in(cache, entry, path[i])
        except Missing as missing:
            missing.names = path[i:]
            raise
        if found is None:
            raise FluxError(errno.ENOENT)
        entry = found
        i += 1
        if entry["type"] == "symlink" and (follow or i < len(path)):
            links += 1
            if links > MAX_LINKS:
                raise FluxError(errno.ELOOP)
            target = entry["data"]
            if "namespace" in target:
                rootref = root_of(target["namespace"])
            path, i = [*split_key(target["target"]), *path[i:]], 0
            entry = treeobj.dirref(rootref)
    return entry


def _entry_in(cache: TreeCache, entry: TreeObj, name: str) -> TreeObj | None:
    kind = entry["type"]
    if kind == "dirref":
        return cache.entry(_ref_of(entry), name)
    if kind == "dir":
        found: TreeObj | None = entry["data"].get(name)
        return found
    raise FluxError(errno.ENOENT)


def _entries(cache: TreeCache, entry: TreeObj) -> dict[str, TreeObj]:
    if entry["type"] == "dir":
        entries: dict[str, TreeObj] = entry["data"]
        return entries
    return cache.whole(_ref_of(entry))


def _ref_of(dirref: TreeObj) -> str:
    refs = dirref["data"]
    if len(refs) != 1:
        raise FluxError(ENOTRECOVERABLE, f"a dirref holds one blobref, not {len(refs)}")
    return str(refs[0])


def interpret(cache: TreeCache, entry: TreeObj, flags: int) -> TreeObj:
    """An entry as the lookup flags ask for it. Errors: see `lookup`."""
    kind = entry["type"]
    if flags & FLUX_KVS_TREEOBJ:
        return entry
    if flags & FLUX_KVS_READLINK:
        if kind != "symlink":
            raise FluxError(errno.EINVAL)
        return entry
    if kind in ("dirref", "dir"):
        if not flags & FLUX_KVS_READDIR:
            raise FluxError(errno.EISDIR)
        return {"data": _entries(cache, entry), "type": "dir", "ver": 1}
    if flags & FLUX_KVS_READDIR:
        raise FluxError(errno.ENOTDIR)
    return entry if kind == "val" else treeobj.val(b"".join(cache.blobs(entry["data"])))


class ValueBlobs(NamedTuple):
    """Blobs of a value, for those who follow appends to it.

    Attributes:
        total: number of blobs that the value has.
        blobs: those from the offset asked for, or the first of them when they are many.
        before: blobref of the one before them; "" when there is none.
        last: blobref of the last one given, or of the one before; "" when there is none.
    """

    total: int
    blobs: list[bytes]
    before: str
    last: str


def value_blobs(cache: TreeCache, entry: TreeObj, offset: int, ahead: int = 1, hash_name: str = "sha1") -> ValueBlobs:
    """The blobs of a value from offset on, about `FETCH_BYTES`. A value that is stored inline counts as one blob.

    Args:
        ahead: how many of them to load at once.

    Raises:
        Missing: blobs have to be loaded first.
        FluxError: EISDIR when the entry is a directory.
    """
    if entry["type"] == "val":
        blob = treeobj.data_of(entry)
        ref = treeobj.blobref(blob, hash_name)
        return ValueBlobs(1, [] if offset else [blob], ref if offset == 1 else "", ref)
    if entry["type"] != "valref":
        raise FluxError(errno.EISDIR)
    refs = entry["data"]
    before = refs[offset - 1] if 0 < offset <= len(refs) else ""
    blobs = first_blobs(cache, refs, offset, ahead)
    end = offset + len(blobs)
    return ValueBlobs(len(refs), blobs, before, refs[end - 1] if 0 < end <= len(refs) else "")


def first_blobs(cache: TreeCache, refs: list[str], offset: int, ahead: int) -> list[bytes]:
    """What is in memory from offset on, at least one blob. Missing names those to load when there is none."""
    found: list[bytes] = []
    size = 0
    while offset + len(found) < len(refs) and size < FETCH_BYTES:
        at = offset + len(found)
        try:
            found += cache.blobs(refs[at : at + 1])
        except Missing:
            if not found:
                raise Missing(refs[at : at + ahead]) from None
            break
        size += len(found[-1])
    return found
