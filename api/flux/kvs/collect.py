"""Garbage collection of content that no root of the KVS refers to (flux-gc(1), RFC 10, RFC 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from flux.kvs import treeobj
from flux.kvs.hdir import Hdir
from flux.kvs.pipeline import load_dirs, refuse
from flux.kvs.roots import checkpoints, live_roots
from flux.kvs.treeobj import TreeObj

if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["Collected", "collect", "references"]

_MARKS_AT_ONCE = 1000
_SWEEP_WINDOW = 10_000
_BACKING = "content-backing"


class Collected(NamedTuple):
    """What a collection has done: blobs in use, blobs removed."""

    marked: int
    deleted: int


def collect(
    handle: Flux, window: int = 16, bypass_cache: bool = False, told: Callable[[str], None] | None = None
) -> Collected:
    """Remove all blobs that no checkpoint and no namespace needs. Others may read and write meanwhile.

    Args:
        handle: a blocking handle of the instance owner.
        window: most directories that are loaded ahead.
        told: called with a line about each step.

    Raises:
        FluxError: ENOSYS the backing store cannot do it; ENOENT, EIO a directory in use cannot be loaded, which ends
            it before anything is removed.
    """
    tell = told or (lambda _text: None)
    info = handle.rpc(f"{_BACKING}.gc-info", {"epoch": 0}, nodeid=0).get()
    epoch, last = info["current_epoch"], info["high_water"]
    tell(f"epoch {epoch} is over, rows up to {last} are looked at")
    _drop_caches(handle)
    marker = _Marker(handle, epoch + 1, window, bypass_cache)
    for name, rootref in _roots(handle):
        tell(f"marking what {name} {rootref} needs")
        marker.mark_tree(rootref)
    for _name, rootref in _roots(handle):  # what went from one namespace to another meanwhile
        marker.mark_tree(rootref)
    marker.send()
    deleted = _sweep(handle, epoch, last)
    tell(f"removed {deleted} blobs")
    return Collected(len(marker.seen), deleted)


def references(node: dict[str, TreeObj] | Hdir) -> tuple[list[str], list[str]]:
    """Blobrefs that a stored directory holds: (of directories and their buckets, of parts of values)."""
    if isinstance(node, Hdir):
        return node.stored, []
    dirs: list[str] = []
    blobs: list[str] = []
    todo = list(node.values())
    while todo:
        obj = todo.pop()
        if obj["type"] == "dirref":
            dirs += obj["data"]
        elif obj["type"] == "valref":
            blobs += obj["data"]
        elif obj["type"] == "dir":
            todo += obj["data"].values()
    return dirs, blobs


def _drop_caches(handle: Flux) -> None:
    """Have every rank send on what is stored from now on, so that the backing store knows that it is in use."""
    size = int(handle.attr_get("size"))
    for request in [handle.rpc("content.dropcache", nodeid=rank) for rank in range(size)]:
        request.get()


def _roots(handle: Flux) -> list[tuple[str, str]]:
    on_record = [("checkpoint", checkpoint.rootref) for checkpoint in checkpoints(handle)]
    return [*live_roots(handle).items(), *on_record]


class _Marker:
    """Marks trees as in use; what several have in common is gone through once.

    Attributes:
        seen: blobrefs of all blobs in use.
    """

    def __init__(self, handle: Flux, epoch: int, window: int, bypass_cache: bool) -> None:
        self.handle = handle
        self.epoch = epoch
        self.window = window
        self.bypass_cache = bypass_cache
        hash_name = handle.attr_get("content.hash")
        empty = treeobj.blobref(treeobj.EMPTY_DIR, hash_name)  # new namespaces begin with it
        self.seen = {empty}
        self._unsent = [empty]

    def mark_tree(self, rootref: str) -> None:
        level = [("", rootref)] if self._see(rootref) else []
        while level:
            below: list[tuple[str, str]] = []
            for key, node in load_dirs(self.handle, level, self.window, refuse, self.bypass_cache):
                dirs, blobs = references(node)
                below += [(f"below {key or '.'}", ref) for ref in dirs if self._see(ref)]
                for ref in blobs:
                    self._see(ref)
            level = below

    def _see(self, ref: str) -> bool:
        """Note that a blob is in use; True when that is new."""
        if ref in self.seen:
            return False
        self.seen.add(ref)
        self._unsent.append(ref)
        if len(self._unsent) >= _MARKS_AT_ONCE:
            self.send()
        return True

    def send(self) -> None:
        refs, self._unsent = self._unsent, []
        if refs:
            self.handle.rpc(f"{_BACKING}.mark", {"epoch": self.epoch, "hashes": refs}, nodeid=0).get()


def _sweep(handle: Flux, epoch: int, last: int) -> int:
    deleted = cursor = 0
    step = {"epoch": epoch, "high_water": last, "delete_cap": _SWEEP_WINDOW, "window": _SWEEP_WINDOW}
    while cursor < last:
        answer = handle.rpc(f"{_BACKING}.sweep", {**step, "cursor": cursor}, nodeid=0).get()
        deleted += answer["deleted"]
        cursor = answer["cursor"]
    return deleted
