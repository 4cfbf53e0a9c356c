"""Checking a tree of the KVS for what is missing or damaged, and mending it (flux-fsck(1), RFC 10, RFC 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flux.blobs import load_many, validate_many
from flux.errors import ProtocolError
from flux.kvs import treeobj
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
    """

    key: str
    text: str
    left: TreeObj | None = None


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
        level = [("", rootref)]
        while level:
            below: list[tuple[str, str]] = []
            values: list[tuple[str, TreeObj]] = []
            for key, blob in load_many(self.handle, ((item[0], item[1]) for item in level), self.window, True):
                found = [Damage(key, f"the directory cannot be loaded: {blob}")] if isinstance(blob, OSError) else []
                entries: dict[str, Any] = {}
                if not isinstance(blob, OSError):
                    entries, found = _entries_of(key, blob)
                yield from found
                self._sort(key, entries, below, values)
                if len(values) >= _VALUES_AT_ONCE:
                    yield from self._bad_values(values)
                    values = []
            yield from self._bad_values(values)
            level = below

    def _sort(
        self, key: str, entries: dict[str, TreeObj], below: list[tuple[str, str]], values: list[tuple[str, TreeObj]]
    ) -> None:
        for name, entry in entries.items():
            child = child_key(key, name)
            self.count += 1
            self._told(child)
            if entry["type"] == "dirref":
                below.append((child, entry["data"][0]))
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


def _entries_of(key: str, blob: bytes) -> tuple[dict[str, TreeObj], list[Damage]]:
    """Entries of a directory that are well formed, and what is wrong with the others, or with all."""
    try:
        return treeobj_entries(blob), []
    except ProtocolError as whole:
        try:
            sound, bad = sound_entries(blob)
        except ProtocolError:
            return {}, [Damage(key, f"this is no directory: {whole}")]
    return sound, [Damage(child_key(key, name), f"this is no tree object: {text}") for name, text in bad.items()]


def treeobj_entries(blob: bytes) -> dict[str, TreeObj]:
    """Entries of an encoded directory. ProtocolError when it is none."""
    obj = treeobj.decode(blob)
    if obj["type"] != "dir":
        raise ProtocolError(f"it is a {obj['type']}")
    entries: dict[str, TreeObj] = obj["data"]
    return entries


def sound_entries(blob: bytes) -> tuple[dict[str, TreeObj], dict[str, str]]:
    """Entries of an encoded directory that are well formed, and what is wrong with others: (entries, texts).

    Raises:
        ProtocolError: it is no directory at all.
    """
    try:
        obj = msgspec.json.decode(blob)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolError(f"a tree object must be JSON: {exc}") from None
    if not isinstance(obj, dict) or obj.get("type") != "dir" or not isinstance(obj.get("data"), dict):
        raise ProtocolError("it is no directory")
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
