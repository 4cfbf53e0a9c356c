"""Checking a tree of the KVS for what is missing or damaged, and mending it (flux-fsck(1), RFC 10, RFC 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from flux.blobs import load_many, validate_many
from flux.errors import ProtocolError
from flux.kvs import treeobj
from flux.kvs.hdir import Hdir, decode_dir
from flux.kvs.pipeline import child_key
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["Check", "Damage", "sound_entries"]


class Damage(NamedTuple):
    """What is wrong with a key.

    Attributes:
        key: "" is the root directory.
        text: what is wrong, for people.
        left: what is whole of a value; None of a directory or of an entry that is none.
        part: it is a large directory, and only some of its entries are lost.
    """

    key: str
    text: str
    left: TreeObj | None = None
    part: bool = False


class Check:
    """Goes through everything under a root.

    Args:
        handle: a blocking handle of the instance owner. Everything must be in the backing store: flush before.
        window: most requests under way, each for many blobs.
        told: called with each key.

    Attributes:
        count: keys and directories seen.
    """

    def __init__(self, handle: Handle, window: int = 4, told: Callable[[str], None] | None = None) -> None:
        self.handle = handle
        self.window = window
        self.count = 0
        self._told = told or (lambda _key: None)

    def damages(self, rootref: str) -> Iterator[Damage]:
        """Everything that is wrong. Values are read by the backing store, and are not sent here."""
        level = [_Stored("", rootref)]
        while level:
            below: list[_Stored] = []
            values: list[tuple[str, TreeObj]] = []
            for stored, blob in load_many(self.handle, ((item, item.ref) for item in level), self.window, True):
                node, found = _node_of(stored, blob)
                yield from found
                if isinstance(node, Hdir):
                    below += [_Stored(stored.key, ref, True) for ref in node.stored]
                    continue
                self._sort(stored.key, node, below, values)
                if len(values) >= _VALUES_AT_ONCE:
                    yield from self._bad_values(values)
                    values = []
            yield from self._bad_values(values)
            level = below

    def _sort(
        self, key: str, entries: dict[str, TreeObj], below: list[_Stored], values: list[tuple[str, TreeObj]]
    ) -> None:
        for name, entry in entries.items():
            child = child_key(key, name)
            self.count += 1
            self._told(child)
            if entry["type"] == "dirref":
                below.append(_Stored(child, entry["data"][0]))
            elif entry["type"] == "valref":
                values.append((child, entry))
            elif entry["type"] == "dir":
                self._sort(child, entry["data"], below, values)

    def _bad_values(self, values: list[tuple[str, TreeObj]]) -> Iterator[Damage]:
        wanted = (((key, entry, i), ref) for key, entry in values for i, ref in enumerate(entry["data"]))
        bad: dict[str, tuple[TreeObj, dict[int, OSError]]] = {}
        for (key, entry, index), error in validate_many(self.handle, wanted, self.window):
            bad.setdefault(key, (entry, {}))[1][index] = error
        for key, (entry, errors) in bad.items():
            refs = entry["data"]
            texts = [f"blob {index + 1} of {len(refs)}, {refs[index]}: {error}" for index, error in errors.items()]
            left = treeobj.valref([ref for index, ref in enumerate(refs) if index not in errors])
            yield Damage(key, "; ".join(texts), left)


_VALUES_AT_ONCE = 100_000


class _Stored(NamedTuple):
    """A stored directory, or a bucket of one."""

    key: str
    ref: str
    bucket: bool = False


def _node_of(stored: _Stored, blob: bytes | OSError) -> tuple[dict[str, TreeObj] | Hdir, list[Damage]]:
    """What is well formed in a stored directory, and what is wrong with the rest, or with all."""
    what = "a bucket of the directory" if stored.bucket else "the directory"
    if isinstance(blob, OSError):
        return {}, [Damage(stored.key, f"{what} cannot be loaded: {blob}", part=stored.bucket)]
    try:
        return decode_dir(blob), []
    except ProtocolError as whole:
        try:
            sound, bad = sound_entries(blob)
        except ProtocolError:
            return {}, [Damage(stored.key, f"{what} cannot be read, this is no directory: {whole}", part=stored.bucket)]
    texts = [Damage(child_key(stored.key, name), f"this is no tree object: {text}") for name, text in bad.items()]
    return sound, texts


def sound_entries(blob: bytes) -> tuple[dict[str, TreeObj] | Hdir, dict[str, str]]:
    """What is well formed in a stored directory, and what is wrong with other entries: (entries or buckets, texts).

    Raises:
        ProtocolError: it is no directory at all.
    """
    try:
        obj = msgspec.json.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"a tree object must be JSON: {exc}") from None
    if not isinstance(obj, dict) or obj.get("type") != "dir" or not isinstance(obj.get("data"), dict):
        return decode_dir(blob), {}
    sound: dict[str, TreeObj] = {}
    bad: dict[str, str] = {}
    for name, entry in obj["data"].items():
        try:
            treeobj.validate(treeobj.directory({name: entry}))
        except ProtocolError as exc:
            bad[name] = exc.strerror or str(exc)
        else:
            sound[name] = entry
    return sound, bad
