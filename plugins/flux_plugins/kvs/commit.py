"""Applying transactions to a tree: old root and edits in, new root and new blobs out. No I/O (RFC 11)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Raw

from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.hdir import MAXDIRENT, Hdir, encode_hdir, limit_at, split
from flux.kvs.treeobj import INLINE_MAX, TreeObj
from flux_plugins.kvs.cache import Missing, TreeCache
from flux_plugins.kvs.keys import MAX_DEPTH, MAX_LINKS, split_key
from flux_plugins.kvs.large import LargeDir
from flux_plugins.kvs.packed import unpacked
from flux_plugins.kvs.transaction import Edit, Transaction

__all__ = ["RootUpdate", "TreeEditor", "merge"]


class _Node:
    """A directory that is open for writing: entries of its own, sub-directories opened on the way down."""

    __slots__ = ("entries",)

    def __init__(self, entries: _Entries) -> None:
        self.entries = entries


_Entry = TreeObj | Raw | _Node
_Entries = dict[str, _Entry] | LargeDir


class TreeEditor:
    """The directories that one merged commit changes.

    Each is copied once, when an edit first gets there, and hashed once, by `seal`.

    Args:
        rootref: blobref of the root directory.
        cache: gives directories; gets the new ones.
        hash_name: the instance's content hash.
        maxdirent: most entries of a directory that is stored whole; 0 is no limit.

    Attributes:
        blobs: what has to be stored, by blobref.
        keys: the keys that were written to.
    """

    def __init__(self, rootref: str, cache: TreeCache, hash_name: str, maxdirent: int) -> None:
        self._cache = cache
        self._maxdirent = maxdirent
        self._hash_name = hash_name
        self._hash = treeobj.hasher(hash_name)
        self._undo: list[tuple[_Entries, str, _Entry | None]] = []
        self._opened: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.keys: dict[str, None] = {}
        self._root = _Node(self._open(rootref))

    def _open(self, ref: str) -> _Entries:
        """A stored directory, to be written to. Missing, FluxError: see `TreeCache.node`."""
        stored = self._cache.node(ref, keep=False)
        self._opened.append(ref)
        return LargeDir(stored, self._open) if isinstance(stored, Hdir) else dict(stored)

    def apply(self, edits: Sequence[Edit]) -> None:
        """Apply one transaction, wholly or not at all.

        Raises:
            Missing: directories have to be loaded first; it names what is known to be needed by now.
            FluxError: EISDIR, EOPNOTSUPP append to a directory, a symlink; ELOOP; EINVAL a path through a link
                to another namespace; ENOTRECOVERABLE a damaged tree.
        """
        self._undo = []
        missing: list[str] = []
        try:
            for edit in edits:
                try:
                    self._apply(edit)
                except Missing as exc:
                    missing += exc.refs
        except FluxError:
            if not missing:
                self._roll_back()
                raise
        if missing:
            self._roll_back()
            raise Missing(missing)
        for edit in edits:
            self.keys[".".join(edit.path)] = None

    def seal(self) -> str:
        """Encode what has changed; gives the new root's blobref. The editor is used up.

        Raises:
            Missing: buckets of a directory that is large no more have to be loaded first.
        """
        rootref = self._seal(self._root.entries)
        for ref in self._opened:
            if ref not in self.blobs:
                self._cache.supersede(ref)
        return rootref

    def _seal(self, entries: _Entries, level: int = 0) -> str:
        if isinstance(entries, LargeDir):
            if entries.total > limit_at(entries.level, self._maxdirent):
                return self._seal_hdir(entries.sealed(self._seal))
            entries = entries.everything()
        if len(entries) > limit_at(level, self._maxdirent):
            refs = [self._seal(part, level + 1) if part else None for part in split(entries, level)]
            return self._seal_hdir(Hdir(level, len(entries), refs))
        opened = [(name, entry) for name, entry in entries.items() if type(entry) is _Node]
        for name, node in opened:
            entries[name] = treeobj.dirref(self._seal(node.entries))
        blob = treeobj.encode({"data": entries, "type": "dir", "ver": 1})
        ref = self._store(blob)
        self._cache.put_dir(ref, blob)
        return ref

    def _seal_hdir(self, hdir: Hdir) -> str:
        blob = encode_hdir(*hdir)
        ref = self._store(blob)
        self._cache.put_dir(ref, blob, hdir)
        return ref

    def _store(self, blob: bytes) -> str:
        ref = f"{self._hash_name}-{self._hash(blob).hexdigest()}"
        self.blobs[ref] = blob
        return ref

    # -- one edit

    def _apply(self, edit: Edit) -> None:
        place = self._descend(edit.path, create=edit.dirent is not None)
        if place is None:
            return
        node, name = place
        if edit.dirent is None:
            if name in node.entries:
                self._set(node, name, None)
        elif edit.append and (present := node.entries.get(name)) is not None:
            self._append(node, name, present, edit.dirent)
        else:
            self._set(node, name, self._stored_form(edit.dirent, 0))

    def _set(self, node: _Node, name: str, entry: _Entry | None) -> None:
        entries = node.entries
        self._undo.append((entries, name, entries.get(name)))
        if entry is None:
            del entries[name]
        else:
            entries[name] = entry

    def _roll_back(self) -> None:
        for entries, name, entry in reversed(self._undo):
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry

    def _descend(self, path: list[str], create: bool) -> tuple[_Node, str] | None:
        """The open directory that holds the last part of a path; None when there is none and none is made."""
        node, i, links = self._root, 0, 0
        while i < len(path) - 1:
            child = self._child(node, path[i])
            if isinstance(child, dict) and child["type"] == "symlink":
                links += 1
                path = _follow(child, path[i + 1 :], links)
                node, i = self._root, 0
                continue
            if not isinstance(child, _Node):
                if not create:
                    return None
                child = _Node({})
                self._set(node, path[i], child)
            node = child
            i += 1
        return node, path[-1]

    def _child(self, node: _Node, name: str) -> TreeObj | _Node | None:
        """An entry; a directory is opened for writing, which changes nothing yet and so needs no undoing."""
        entry = node.entries.get(name)
        if isinstance(entry, Raw):
            entry = unpacked(entry)
        if isinstance(entry, dict):
            if entry["type"] == "dirref":
                entry = node.entries[name] = _Node(self._open(entry["data"][0]))
            elif entry["type"] == "dir":
                entry = node.entries[name] = _Node(dict(entry["data"]))
        return entry

    def _append(self, node: _Node, name: str, present: _Entry, dirent: TreeObj) -> None:
        if isinstance(present, Raw):
            present = unpacked(present)
        kind = "dir" if isinstance(present, _Node) else present["type"]
        if kind in ("dir", "dirref"):
            raise FluxError(errno.EISDIR, f"cannot append to {name}: it is a directory")
        if kind == "symlink":
            raise FluxError(errno.EOPNOTSUPP, f"cannot append to {name}: it is a symlink")
        assert isinstance(present, dict)
        added = self._store_value(treeobj.data_of(dirent))
        refs = present["data"] if kind == "valref" else [self._store_value(treeobj.data_of(present))]
        self._set(node, name, treeobj.valref([*refs, added]))

    def _stored_form(self, dirent: TreeObj, depth: int) -> TreeObj | _Node:
        """What an entry looks like inside a stored directory: long values and directories by reference."""
        if dirent["type"] == "val" and len(dirent["data"]) > INLINE_MAX:
            return treeobj.valref([self._store_value(treeobj.data_of(dirent))])
        if dirent["type"] == "dir":
            if depth >= MAX_DEPTH:
                raise FluxError(errno.EINVAL, f"a directory given whole has at most {MAX_DEPTH} levels")
            return _Node({name: self._stored_form(entry, depth + 1) for name, entry in dirent["data"].items()})
        return dirent

    def _store_value(self, data: bytes) -> str:
        ref = self._store(data)
        self._cache.put_blob(ref, data)
        return ref


def _follow(link: TreeObj, rest: list[str], links: int) -> list[str]:
    if links > MAX_LINKS:
        raise FluxError(errno.ELOOP, "too many symlinks on the way")
    if "namespace" in link["data"]:
        raise FluxError(errno.EINVAL, "cannot write through a symlink to another namespace")
    return [*split_key(link["data"]["target"]), *rest]


class RootUpdate(NamedTuple):
    """Outcome of a merged commit.

    Attributes:
        rootref: the new root; None when no transaction of it succeeded.
        blobs: to be stored before the root is told to anyone, by blobref.
        keys: the keys that were written to.
        applied: transactions that are in.
        failed: those that are not, each with its error.
    """

    rootref: str | None
    blobs: dict[str, bytes]
    keys: dict[str, None]
    applied: list[Transaction]
    failed: list[tuple[Transaction, FluxError]]


def merge(
    rootref: str,
    transactions: Sequence[Transaction],
    cache: TreeCache,
    hash_name: str = "sha1",
    maxdirent: int = MAXDIRENT,
) -> RootUpdate:
    """Apply transactions in order, as one new root; one that fails leaves no trace.

    Raises:
        Missing: directories have to be loaded first; nothing has been done.
        FluxError: ENOTRECOVERABLE when the root itself is damaged.
    """
    editor = TreeEditor(rootref, cache, hash_name, maxdirent)
    applied: list[Transaction] = []
    failed: list[tuple[Transaction, FluxError]] = []
    missing: list[str] = []
    for transaction in transactions:
        try:
            editor.apply(transaction.edits)
        except Missing as exc:
            missing += exc.refs
        except FluxError as exc:
            failed.append((transaction, exc))
        else:
            applied.append(transaction)
    if missing:
        raise Missing(missing)
    newref = editor.seal() if applied else None
    return RootUpdate(newref, editor.blobs, editor.keys, applied, failed)
