"""A KVS of nested dicts, to compare the engine with, and a content store that counts what is asked of it."""

from __future__ import annotations

from typing import Any

from flux.kvs import treeobj
from flux_plugins.kvs.cache import Missing, TreeCache
from flux_plugins.kvs.commit import RootUpdate, merge
from flux_plugins.kvs.lookup import lookup
from flux_plugins.kvs.transaction import Op, Transaction, check_ops

MAX_LINKS = 10


class Refused(Exception):
    """The model refuses a transaction."""


class Model:
    """Values are bytes, directories dicts, links ("link", target)."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}

    def parent(self, path: list[str], create: bool) -> tuple[dict[str, Any], str] | None:
        here, rest, links = self.root, list(path), 0
        while len(rest) > 1:
            name = rest.pop(0)
            there = here.get(name)
            if isinstance(there, tuple):
                links += 1
                if links > MAX_LINKS:
                    raise Refused("loop")
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
                raise Refused("append")
            here[name] += value
        else:
            here[name] = value


def plain(obj: Any, load: Any) -> Any:
    """A tree object and all below it in the model's terms."""
    kind, data = obj["type"], obj["data"]
    if kind == "val":
        return treeobj.decode_val(obj)
    if kind == "valref":
        return b"".join(load(ref) for ref in data)
    if kind == "symlink":
        return ("link", data["target"])
    if kind == "dirref":
        blob = load(data[0])
        inner = treeobj.decode(blob)
        assert treeobj.encode(inner) == blob, "a stored directory is not in canonical form"
        obj, data = inner, inner["data"]
    return {name: plain(entry, load) for name, entry in data.items()}


class Store:
    """The engine with a content store around it; what the cache misses is loaded, as the module does."""

    def __init__(self, hash_name: str = "sha1", **limits: int) -> None:
        self.hash_name = hash_name
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
                return function()
            except Missing as missing:
                self.load(missing.refs)

    def commit(self, *transactions: list[dict[str, Any]]) -> RootUpdate:
        """Merge transactions, given by their ops, into one root."""
        made = [
            Transaction(str(i), check_ops([Op(**op) for op in ops], guest=False), 0, None)
            for i, ops in enumerate(transactions)
        ]
        update: RootUpdate = self.attempt(lambda: merge(self.rootref, made, self.cache, self.hash_name))
        for ref, blob in update.blobs.items():
            assert treeobj.blobref(blob, self.hash_name) == ref
        self.content.update(update.blobs)
        self.rootref = update.rootref or self.rootref
        return update

    def lookup(self, key: str, flags: int = 0, root_of: Any = None) -> Any:
        return self.attempt(lambda: lookup(self.cache, self.rootref, key, flags, root_of))

    def tree(self) -> Any:
        return plain(treeobj.dirref(self.rootref), self.content.__getitem__)
