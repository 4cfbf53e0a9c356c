"""A KVS of nested dicts, to compare the engine with, and a content store that counts what is asked of it."""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable
from typing import Any

from flux.kvs import treeobj
from flux.kvs.hdir import Hdir, decode_dir, encode_hdir, store_dir
from flux_plugins.kvs.cache import Missing, TreeCache, Unread
from flux_plugins.kvs.commit import RootUpdate, merge
from flux_plugins.kvs.lookup import lookup
from flux_plugins.kvs.transaction import Op, Transaction, check_ops

MAX_LINKS = 10


class Refused(Exception):
    """The model refuses a transaction or a lookup, with an errno."""

    def __init__(self, errnum: int) -> None:
        super().__init__(errno.errorcode[errnum])
        self.errno = errnum


class Model:
    """Values are bytes, directories dicts, links ("link", target) or ("link", target, namespace)."""

    def __init__(self, root: dict[str, Any] | None = None) -> None:
        self.root: dict[str, Any] = {} if root is None else root

    def parent(self, path: list[str], create: bool) -> tuple[dict[str, Any], str] | None:
        here, rest, links = self.root, list(path), 0
        while len(rest) > 1:
            name = rest.pop(0)
            there = here.get(name)
            if isinstance(there, tuple):
                links += 1
                if links > MAX_LINKS:
                    raise Refused(errno.ELOOP)
                if len(there) > 2:
                    raise Refused(errno.EINVAL)
                here, rest = self.root, [*there[1].split("."), *rest]
                continue
            if not isinstance(there, dict):
                if not create:
                    return None
                there = here[name] = {}
            here = there
        return here, rest[0]

    def apply(self, op: tuple[str, ...], key: str, value: Any) -> None:
        place = self.parent(key.split("."), create=op != "unlink")
        if place is None:
            return
        here, name = place
        if op == "unlink":
            here.pop(name, None)
        elif op == "append" and name in here:
            if not isinstance(here[name], bytes):
                raise Refused(errno.EISDIR if isinstance(here[name], dict) else errno.EOPNOTSUPP)
            here[name] += value
        else:
            here[name] = value

    def transact(self, ops: list[tuple[str, str, Any]]) -> None:
        """Apply (op, key, value) in order, all of them or none. Refused says why none."""
        before = copy.deepcopy(self.root)
        try:
            for op, key, value in ops:
                self.apply(op, key, copy.deepcopy(value))
        except Refused:
            self.root = before
            raise

    def find(self, key: str, follow: bool, root_of: Callable[[str], dict[str, Any]]) -> Any:
        """What is under a key, a link at its end followed or not. Refused: ENOENT, ELOOP, or what root_of says."""
        here: Any = self.root
        root, rest, links = self.root, [part for part in key.split(".") if part], 0
        while rest:
            if not isinstance(here, dict) or rest[0] not in here:
                raise Refused(errno.ENOENT)
            here, rest = here[rest[0]], rest[1:]
            if isinstance(here, tuple) and (follow or rest):
                links += 1
                if links > MAX_LINKS:
                    raise Refused(errno.ELOOP)
                root = root_of(here[2]) if len(here) > 2 else root
                here, rest = root, [*(part for part in here[1].split(".") if part), *rest]
        return here


def plain(obj: Any, load: Any) -> Any:
    """A tree object and all below it in the model's terms."""
    kind, data = obj["type"], obj["data"]
    if kind == "val":
        return treeobj.decode_val(obj)
    if kind == "valref":
        return b"".join(load(ref) for ref in data)
    if kind == "symlink":
        return ("link", data["target"], data["namespace"]) if "namespace" in data else ("link", data["target"])
    if kind == "dirref":
        data = entries_of(data[0], load)
    return {name: plain(entry, load) for name, entry in data.items()}


def entries_of(ref: str, load: Any) -> dict[str, Any]:
    """All entries of a stored directory, whose blobs must be in canonical form."""
    blob = load(ref)
    node = decode_dir(blob)
    if isinstance(node, Hdir):
        assert encode_hdir(*node) == blob
        entries: dict[str, Any] = {}
        for bucket in node.stored:
            entries.update(entries_of(bucket, load))
        assert len(entries) == node.total
        return entries
    assert treeobj.encode(treeobj.directory(node)) == blob
    return node


class Store:
    """The engine with a content store around it; what the cache misses is loaded, as the module does."""

    def __init__(self, hash_name: str = "sha1", maxdirent: int = 1024, **limits: int) -> None:
        self.hash_name = hash_name
        self.maxdirent = maxdirent
        self.cache = TreeCache(**limits)
        self.rootref = treeobj.blobref(treeobj.EMPTY_DIR, hash_name)
        self.content = {self.rootref: treeobj.EMPTY_DIR}
        self.loads = 0

    def load(self, refs: list[str]) -> None:
        for ref in refs:
            self.loads += 1
            self.cache.put_blob(ref, self.content[ref])

    def attempt(self, function: Any) -> Any:
        while True:
            try:
                result = function()
                self.cache.held.clear()
                return result
            except Unread as unread:
                ref = unread.refs[0]
                self.cache.gathered[ref] = entries_of(ref, self.content.__getitem__)
            except Missing as missing:
                self.load(missing.refs)
                self.cache.held.update({ref: self.content[ref] for ref in missing.refs})

    def commit(self, *transactions: list[dict[str, Any]]) -> RootUpdate:
        """Merge transactions, given by their ops, into one root."""
        made = [
            Transaction(str(i), check_ops([Op(**op) for op in ops], guest=False), 0, None)
            for i, ops in enumerate(transactions)
        ]
        update: RootUpdate = self.attempt(lambda: merge(self.rootref, made, self.cache, self.hash_name, self.maxdirent))
        for ref, blob in update.blobs.items():
            assert treeobj.blobref(blob, self.hash_name) == ref
        self.content.update(update.blobs)
        self.rootref = update.rootref or self.rootref
        return update

    def rebuilt(self) -> str:
        """Root of the same tree when it is stored anew."""

        def stored(obj: Any) -> Any:
            if obj["type"] != "dirref":
                return obj
            entries = entries_of(obj["data"][0], self.content.__getitem__)
            return treeobj.dirref(
                store_dir({name: stored(entry) for name, entry in entries.items()}, self.maxdirent, ref)
            )

        def ref(blob: bytes) -> str:
            return treeobj.blobref(blob, self.hash_name)

        root: str = stored(treeobj.dirref(self.rootref))["data"][0]
        return root

    def lookup(self, key: str, flags: int = 0, root_of: Any = None) -> Any:
        return self.attempt(lambda: lookup(self.cache, self.rootref, key, flags, root_of))

    def tree(self) -> Any:
        return plain(treeobj.dirref(self.rootref), self.content.__getitem__)
