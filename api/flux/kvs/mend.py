"""Mending a tree of the KVS: what `flux.kvs.check` has found is taken out, what is left is kept (flux-fsck(1))."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from flux.blobs import Storer
from flux.content import digest_of, load_async
from flux.kvs import treeobj
from flux.kvs.check import Damage, sound_entries
from flux.kvs.hdir import Hdir, store_dir
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["LOST", "Mended", "mend"]

LOST = "lost+found"
_JOB = re.compile(r"job(\.[0-9a-f]{4}){4}(?=\.|$)")


class Mended(NamedTuple):
    """What was done about a key: moved to `LOST`, else unlinked. text: so, for people."""

    key: str
    moved: bool
    text: str


def mend(
    handle: Handle,
    rootref: str,
    hash_name: str,
    maxdirent: int,
    damages: Iterable[Damage],
    jobs_whole: bool = False,
) -> tuple[str, list[Mended]]:
    """Store a tree without the damages; gives its root's blobref and what was done.

    Args:
        handle: a blocking handle of the instance owner.
        maxdirent: most entries of a directory that is stored whole, 0 is no limit.
        damages: of the tree under rootref; the root itself is not among them.
        jobs_whole: a job of which a key is damaged goes to `LOST` with all it has.
    """
    tree = _Tree(handle, rootref, hash_name, maxdirent)
    done: list[Mended] = []
    jobs: dict[str, None] = {}
    for damage in damages:
        job = _JOB.match(damage.key) if jobs_whole else None
        if job is not None:
            jobs[job[0]] = None
        stays = job is not None or damage.key.startswith(f"{LOST}.")
        if damage.part:
            tree.keep(damage.key)
            done.append(Mended(damage.key, True, "what is whole of it stays"))
        elif damage.left is None:
            tree.unlink(damage.key)
            done.append(Mended(damage.key, False, "unlinked"))
        elif stays:
            tree.put(damage.key, damage.left)
            done.append(Mended(damage.key, True, "what is whole of it stays"))
        else:
            tree.unlink(damage.key)
            tree.put(f"{LOST}.{damage.key}", damage.left)
            done.append(Mended(damage.key, True, f"what is whole of it is moved to {LOST}"))
    done += [Mended(key, True, f"the job is moved to {LOST}") for key in jobs if tree.move(key, f"{LOST}.{key}")]
    return tree.seal(), done


class _Dir:
    """A directory that is open for writing."""

    def __init__(self, entries: dict[str, TreeObj | _Dir]) -> None:
        self.entries = entries


class _Tree:
    """A tree of which directories are opened as they are needed; those that are open are stored anew by `seal`."""

    def __init__(self, handle: Handle, rootref: str, hash_name: str, maxdirent: int) -> None:
        self._handle = handle
        self._maxdirent = maxdirent
        self._storer = Storer(handle, hash_name, window=4)
        self._root = self._open(treeobj.dirref(rootref))

    def _open(self, entry: TreeObj) -> _Dir:
        if entry["type"] == "dir":
            return _Dir(dict(entry["data"]))
        return _Dir(dict(self._entries(entry["data"][0])))

    def _entries(self, ref: str) -> dict[str, TreeObj]:
        """What is whole in a stored directory; lost buckets, which `Check` has told of, are left out."""
        node, _bad = sound_entries(load_async(self._handle, digest_of(ref)).get())
        if not isinstance(node, Hdir):
            return node
        entries: dict[str, TreeObj] = {}
        for bucket in node.stored:
            with suppress(OSError):
                entries.update(self._entries(bucket))
        return entries

    def _parent(self, key: str, make: bool = False) -> tuple[_Dir | None, str]:
        """The directory that a key is in, and the name there; without `make` None where there is none."""
        *path, name = key.split(".")
        here = self._root
        for part in path:
            below = here.entries.get(part)
            if not isinstance(below, _Dir):
                if below is not None and below["type"] in ("dir", "dirref"):
                    below = self._open(below)
                elif make:
                    below = _Dir({})
                else:
                    return None, name
                here.entries[part] = below
            here = below
        return here, name

    def keep(self, key: str) -> None:
        """Store a directory anew with what is whole of it."""
        self._parent(f"{key}.any")

    def unlink(self, key: str) -> None:
        parent, name = self._parent(key)
        if parent is not None:
            parent.entries.pop(name, None)

    def put(self, key: str, entry: TreeObj | _Dir) -> None:
        parent, name = self._parent(key, make=True)
        assert parent is not None
        parent.entries[name] = entry

    def move(self, key: str, target: str) -> bool:
        """False when there is nothing to move."""
        parent, name = self._parent(key)
        entry = parent.entries.pop(name, None) if parent is not None else None
        if entry is not None:
            self.put(target, entry)
        return entry is not None

    def seal(self) -> str:
        """Store what was changed; gives the blobref of the root."""
        rootref = self._seal(self._root)
        self._storer.finish()
        return rootref

    def _seal(self, directory: _Dir) -> str:
        entries = {
            name: treeobj.dirref(self._seal(entry)) if isinstance(entry, _Dir) else entry
            for name, entry in directory.entries.items()
        }
        return store_dir(entries, self._maxdirent, self._storer.store)
