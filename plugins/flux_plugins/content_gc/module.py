"""The content-gc module: removes blobs that nothing refers to, a little with each heartbeat (flux-gc(1), RFC 10).

A round begins when many blobs have been stored since the last one. It marks what the roots of all namespaces and all
checkpoints refer to, then sweeps what has been marked, stored and loaded neither in this round nor in the one before,
and not for `grace` seconds. So a blob that is stored and not referred to yet is safe, and so is who reads an old root.
Whoever stores much before the first commit of it, as flux-restore(1) does, holds the collection off meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import msgspec

from flux.blobs import load_batch
from flux.content import digest_of
from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.collect import references
from flux.kvs.hdir import decode_dir
from flux.message import Message
from flux.module import DEFERRED, Module, Subscribers, event, request
from flux_plugins.content_gc.history import History

__all__ = ["ContentGc", "Options"]

_LOADS_AT_ONCE = 128
_ROWS_PER_DIR = 20
_REFERENCE = b'ref"'
_NOT_NOW = (errno.ENOSYS, errno.EHOSTUNREACH)


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the content-gc module.

    Attributes:
        threshold: how many blobs must have been stored for a round to begin.
        share: the same, as a share of the blobs in use, where that is more.
        grace: seconds that a blob is kept after it was seen in use, and the least time from one round to the next.
        step: directories that are looked at in one heartbeat period; of rows to sweep 20 times as many.
    """

    threshold: int = 10_000
    share: float = 0.25
    grace: float = 60.0
    step: int = 1000


class ContentGc(Module):
    """Collects garbage in the backing store."""

    name = "content-gc"
    options_type = Options
    requires = ("content",)
    after = ("content", "kvs")
    ranks = "0"

    def start(self) -> None:
        if min(self.options.threshold, self.options.step) < 1 or min(self.options.share, self.options.grace) < 0:
            raise FluxError(errno.EINVAL, "threshold and step are at least 1, share and grace at least 0")
        self._history = History(self.options.grace)
        self._holders = Subscribers(self)
        self._pulse = asyncio.Event()
        self._budget = 0
        self._busy = self._full = False
        self._in_use = 0
        self._counts = {"rounds": 0, "failures": 0, "removed": 0}

    # -- when

    @event("heartbeat.pulse")
    def on_heartbeat(self, msg: Message) -> None:
        self._budget = self.options.step
        self._pulse.set()
        if not self._busy and not self._held and self._history.due(self.flux.loop.time()):
            self._busy = True
            self.spawn(self._consider(), "collection")

    @event("content.full")
    def on_content_full(self, msg: Message) -> None:
        self._full = bool(msg.payload["full"])

    @request("hold", streaming=True)
    def hold(self, msg: Message) -> Any:
        """Remove nothing until this request is cancelled, or its sender goes away."""
        self._holders.add(msg)
        return DEFERRED

    @property
    def _held(self) -> bool:
        return len(self._holders) > 0

    async def _spend(self, cost: int) -> None:
        """Go on when there is budget left for this heartbeat period."""
        while self._budget <= 0:
            self._pulse.clear()
            await self._pulse.wait()
        self._budget -= cost

    async def _consider(self) -> None:
        try:
            stored = (await self.flux.rpc("content-backing.gc-pending"))["stored"]
            if self._full or stored >= max(self.options.threshold, self.options.share * self._in_use):
                await self._round()
        except FluxError as exc:
            if exc.errno not in _NOT_NOW:
                self._counts["failures"] += 1
                self.log.error("garbage cannot be collected", error=str(exc))
        finally:
            self._busy = False

    # -- one round

    async def _round(self) -> None:
        await self._roots()  # ENOSYS without a KVS: what it may come to need is not known
        info = await self.flux.rpc("content-backing.gc-info", {"epoch": 0})
        epoch = info["current_epoch"]
        ripe = self._history.end(epoch, self.flux.loop.time())
        self._in_use = await self._mark(epoch + 1)
        if ripe is not None:
            await self._sweep(ripe, info["high_water"])
        self._counts["rounds"] += 1

    async def _roots(self) -> list[str]:
        """Blobrefs of the present root of each namespace, and of those on record."""
        listed = await self.flux.rpc("kvs.namespace-list")
        roots: list[str] = []
        for namespace in listed["namespaces"]:
            try:
                root = await self.flux.rpc("kvs.getroot", {"namespace": namespace["namespace"], "flags": 0})
            except FluxError as exc:
                if exc.errno != errno.ENOTSUP:  # removed meanwhile
                    raise
                continue
            roots.append(root["rootref"])
        try:
            on_record = await self.flux.rpc("content.checkpoint-get")
        except FluxError as exc:
            if exc.errno != errno.ENOENT:
                raise
            return roots
        return roots + [checkpoint["rootref"] for checkpoint in on_record["value"]]

    async def _mark(self, epoch: int) -> int:
        """Mark all that is in use; gives how much that is."""
        empty = treeobj.blobref(treeobj.EMPTY_DIR, self.attrs["content.hash"])  # new namespaces begin with it
        roots = [ref for ref in await self._roots() if ref != empty]
        seen = set(map(digest_of, roots))
        todo = list(dict.fromkeys(roots))
        count = await self._mark_blobs(epoch, [empty, *todo])
        while todo:
            batch, todo = todo[-_LOADS_AT_ONCE:], todo[:-_LOADS_AT_ONCE]
            dirs, blobs = await self._load(batch)
            new = [ref for ref in dict.fromkeys(dirs) if digest_of(ref) not in seen]
            seen.update(map(digest_of, new))
            todo += new
            count += await self._mark_blobs(epoch, new + blobs)
        return count

    async def _load(self, refs: list[str]) -> tuple[list[str], list[str]]:
        """References to directories, and to blobs of values, that are in directories."""
        dirs: list[str] = []
        blobs: list[str] = []
        await self._spend(len(refs))
        for blob in await load_batch(self.flux, refs):
            if _REFERENCE not in blob:  # nothing but values, which most directories of a large tree are
                continue
            more_dirs, more_blobs = references(decode_dir(blob))
            dirs += more_dirs
            blobs += more_blobs
        return dirs, blobs

    async def _mark_blobs(self, epoch: int, refs: list[str]) -> int:
        step = self.options.step
        for at in range(0, len(refs), step):
            await self.flux.rpc("content-backing.mark", {"epoch": epoch, "hashes": refs[at : at + step]})
            if at:
                await self._spend(step)
        return len(refs)

    async def _sweep(self, epoch: int, last: int) -> None:
        cursor = 0
        rows = self.options.step * _ROWS_PER_DIR
        while cursor < last and not self._held:
            await self._spend(self.options.step)
            request = {"epoch": epoch, "cursor": cursor, "high_water": last, "delete_cap": rows, "window": rows}
            answer = await self.flux.rpc("content-backing.sweep", request)
            cursor = answer["cursor"]
            self._counts["removed"] += answer["deleted"]

    def stats(self) -> dict[str, Any]:
        """Rounds made and failed, blobs removed in all, blobs in use as of the last round."""
        return {**self._counts, "in-use": self._in_use, "collecting": self._busy, "held": self._held}
