"""Garbage collection in backing stores: which blobs are in use is told by flux-gc(1), the others go (RFC 10).

Each blob bears an epoch. `gc-info` begins a new one and gives the epoch before it, which is final: from then on a blob
that is stored again, loaded, or marked as in use moves to the new one. `sweep` removes what has stayed behind, so what
somebody began to use meanwhile is kept. One that was interrupted leaves nothing behind; one that is overtaken by
another's end is refused.
"""

from __future__ import annotations

import errno
import functools
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from flux.backing import BackingModule, BackingStore
from flux.content import digest_of
from flux.errors import FluxError
from flux.module import request

if TYPE_CHECKING:
    from flux.message import Message

__all__ = ["CollectingModule", "CollectingStore", "Collector", "MemoryCollector"]

_MARKS_AT_ONCE = 10_000


class Collector(ABC):
    """Epochs of a store's blobs. Blocking, used by the thread of the store.

    Attributes:
        stored: how many blobs came since the last collection began.
    """

    stored: int = 0

    @abstractmethod
    def info(self, epoch: int, get_count: bool) -> dict[str, int]:
        """Begin an epoch; gives {current_epoch, high_water, candidates}.

        They are the epoch before it, where a sweep ends, and with get_count how many blobs are up to `epoch`.
        """

    @abstractmethod
    def mark(self, epoch: int, digests: list[bytes]) -> int:
        """These blobs are in use; gives how many of them there are."""

    @abstractmethod
    def sweep(self, epoch: int, cursor: int, high_water: int, delete_cap: int, window: int) -> tuple[int, int]:
        """Remove blobs whose epoch is `epoch` or older; gives (how many, the new cursor).

        Args:
            cursor, high_water: blobs behind the first and up to the second are looked at.
            delete_cap, window: at most so many are removed, and looked at.

        Raises:
            FluxError: ESTALE when the epoch is not over; EIO, ENOSPC when what was loaded since cannot be noted.
        """


class CollectingStore(BackingStore):
    """A backing store that can forget blobs."""

    collector: Collector


class MemoryCollector(Collector):
    """Epochs in memory, for stores that have no place for them: about 150 bytes for each blob in use.

    All that was there before the first collection is of epoch 0.

    Args:
        digests: gives all blobs that there are, in any order; others may come and go meanwhile.
        remove: forgets blobs; those that are gone already are passed over.
    """

    _END = 1 << 53

    def __init__(self, digests: Callable[[], Iterator[bytes]], remove: Callable[[list[bytes]], None]) -> None:
        self._digests = digests
        self._remove = remove
        self._epoch = 0
        self._touched: dict[bytes, int] = {}
        self._rest: Iterator[bytes] = iter(())
        self._reached = -1

    def touch(self, digest: bytes) -> None:
        """A blob has been stored or loaded."""
        if self._epoch:
            self._touched[digest] = self._epoch

    def info(self, epoch: int, get_count: bool) -> dict[str, int]:
        info = {"current_epoch": self._epoch, "high_water": self._END}
        self._epoch += 1
        self.stored = 0
        if get_count:
            info["candidates"] = sum(self._touched.get(digest, 0) <= epoch for digest in self._digests())
        return info

    def mark(self, epoch: int, digests: list[bytes]) -> int:
        self._touched.update(dict.fromkeys(digests, max(epoch, self._epoch)))
        return len(digests)

    def sweep(self, epoch: int, cursor: int, high_water: int, delete_cap: int, window: int) -> tuple[int, int]:
        if epoch >= self._epoch:
            raise FluxError(errno.ESTALE, f"the collection of epoch {epoch} is not under way: begin with gc-info")
        if cursor != self._reached:
            self._rest = itertools.islice(self._digests(), cursor, None)
        looked_at = list(itertools.islice(self._rest, min(window, delete_cap)))
        stale = [digest for digest in looked_at if self._touched.get(digest, 0) <= epoch]
        self._remove(stale)
        for digest in stale:
            self._touched.pop(digest, None)
        if not looked_at:
            self._reached = -1
            return 0, max(high_water, cursor)
        self._reached = cursor + len(looked_at)
        return len(stale), self._reached


class Info(msgspec.Struct):
    """content-backing.gc-info."""

    epoch: int
    get_count: bool = False


class Mark(msgspec.Struct):
    """content-backing.mark: blobrefs of blobs in use."""

    epoch: int
    hashes: list[str]


class Sweep(msgspec.Struct):
    """content-backing.sweep: one step through the rows behind cursor; see `Collector.sweep`."""

    epoch: int
    cursor: int
    high_water: int
    delete_cap: int
    window: int


class CollectingModule(BackingModule):
    """A backing module whose store is a `CollectingStore`."""

    backing: CollectingStore

    @request("gc-info", service="content-backing", payload=Info)
    async def gc_info(self, msg: Message, req: Info) -> dict[str, int]:
        info = await self.in_order(functools.partial(self.backing.collector.info, req.epoch, req.get_count))
        await self._forget_clean()
        return info

    @request("gc-pending", service="content-backing")
    def gc_pending(self, msg: Message) -> dict[str, int]:
        """How many blobs were stored since the last gc-info."""
        return {"stored": self.backing.collector.stored}

    async def _forget_clean(self) -> None:
        """Have what is stored from now on come here, to be of the new epoch, even if the caches have seen it before."""
        try:
            await self.flux.rpc("content.flush")
        except FluxError as exc:
            self.log.info("collecting garbage though not all content is in the store", error=str(exc))
        await self.flux.rpc("content.dropcache")
        self.flux.event_send("content.dropcache", None)

    @request("mark", service="content-backing", payload=Mark)
    async def mark(self, msg: Message, req: Mark) -> dict[str, int]:
        if len(req.hashes) > _MARKS_AT_ONCE:
            raise FluxError(errno.EINVAL, f"at most {_MARKS_AT_ONCE} blobs are marked at once, not {len(req.hashes)}")
        digests = [digest_of(ref) for ref in req.hashes]
        marked = await self.in_order(functools.partial(self.backing.collector.mark, req.epoch, digests))
        return {"marked": marked}

    @request("sweep", service="content-backing", payload=Sweep)
    async def sweep(self, msg: Message, req: Sweep) -> dict[str, int]:
        if min(req.delete_cap, req.window) < 1:
            raise FluxError(errno.EINVAL, "delete_cap and window are at least 1")
        step = functools.partial(
            self.backing.collector.sweep, req.epoch, req.cursor, req.high_water, req.delete_cap, req.window
        )
        deleted, cursor = await self.in_order(step)
        return {"deleted": deleted, "cursor": cursor}
