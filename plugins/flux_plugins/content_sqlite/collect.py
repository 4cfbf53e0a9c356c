"""Garbage collection in the database: which blobs are in use is told by flux-gc(1), the others go (RFC 10).

Each blob bears an epoch. `gc-info` begins a new one and gives the epoch before it, which is final: from then on a blob
that is stored again, loaded, or marked as in use moves to the new one. `sweep` removes what has stayed behind, so what
somebody began to use meanwhile is kept. One that was interrupted leaves nothing behind; one that is overtaken by
another's end is refused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from flux.backing import BackingModule
from flux.content import digest_of
from flux.errors import FluxError
from flux.module import request

if TYPE_CHECKING:
    from flux.message import Message
    from flux_plugins.content_sqlite.database import Database

__all__ = ["CollectingModule", "Collector"]

_MARKS_AT_ONCE = 10_000
_TOUCHED_AT_ONCE = 10_000
_TOUCH = "UPDATE objects SET epoch = ? WHERE hash = CAST(? AS TEXT) AND epoch < ?"
_STALE = "SELECT rowid FROM objects WHERE rowid > ? AND rowid <= ? AND epoch <= ? ORDER BY rowid LIMIT ?"


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


class Collector:
    """Epochs of a database's blobs.

    Args:
        database: used by one thread, as all of it.

    Attributes:
        touching: there has been a collection, loads have to be told to `touch`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.touching = False
        self._touched: set[bytes] = set()

    def info(self, epoch: int, get_count: bool) -> dict[str, int]:
        """Begin an epoch; gives the one before it, the last row there is now, and how many rows are up to `epoch`."""
        self._note_touched()
        if not self.touching:
            (self.database.epoch,) = self._one("SELECT coalesce(max(epoch), 0) FROM objects")
        (last,) = self._one("SELECT coalesce(max(rowid), 0) FROM objects")
        current = self.database.epoch
        self.database.epoch = current + 1
        self.database.stored = 0
        self.touching = True
        info = {"current_epoch": current, "high_water": last}
        if get_count:
            (info["candidates"],) = self._one("SELECT count(*) FROM objects WHERE epoch <= ?", epoch)
        return info

    def mark(self, epoch: int, digests: list[bytes]) -> int:
        """These blobs are in use; gives how many of them there are."""
        epoch = max(epoch, self.database.epoch)
        present = sum(
            self._one("SELECT count(*) FROM objects WHERE hash = CAST(? AS TEXT)", digest)[0] for digest in digests
        )
        self._write(_TOUCH, [(epoch, digest, epoch) for digest in digests])
        return present

    def touch(self, digest: bytes) -> None:
        """A blob has been loaded and may be referred to again. Noted with many others, at the latest by `sweep`."""
        self._touched.add(digest)
        if len(self._touched) % _TOUCHED_AT_ONCE == 0:
            with contextlib.suppress(FluxError):  # a load succeeds all the same; sweep tries again, and tells
                self._note_touched()

    def _note_touched(self) -> None:
        if self._touched:
            epoch = self.database.epoch
            self._write(_TOUCH, [(epoch, digest, epoch) for digest in self._touched])
            self._touched.clear()

    def sweep(self, epoch: int, cursor: int, high_water: int, delete_cap: int, window: int) -> tuple[int, int]:
        """Remove rows whose epoch is `epoch` or older; gives (how many, the new cursor).

        Args:
            cursor, high_water: rows behind the first and up to the second are looked at.
            delete_cap, window: at most so many are removed, and looked at.

        Raises:
            FluxError: ESTALE when the epoch is not over; EIO, ENOSPC when what was loaded since cannot be noted.
        """
        if not self.touching or epoch >= self.database.epoch:
            raise FluxError(errno.ESTALE, f"the collection of epoch {epoch} is not under way: begin with gc-info")
        self._note_touched()
        end = min(cursor + window, high_water)
        rows = self._all(_STALE, cursor, end, epoch, delete_cap)
        self._write("DELETE FROM objects WHERE rowid = ?", rows)
        reached = rows[-1][0] if len(rows) == delete_cap else max(end, cursor)
        return len(rows), reached

    def _one(self, query: str, *values: Any) -> Any:
        return self._all(query, *values)[0]

    def _all(self, query: str, *values: Any) -> list[Any]:
        try:
            return self.database.db.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            self.database.fail("reading", exc)

    def _write(self, statement: str, rows: list[Any]) -> None:
        try:
            with self.database.db:
                self.database.db.execute("BEGIN")
                self.database.db.executemany(statement, rows)
        except sqlite3.Error as exc:
            self.database.fail("writing", exc)


class CollectingModule(BackingModule):
    """A backing module whose store is a `Database` with a `Collector`."""

    backing: Database

    @request("gc-info", service="content-backing", payload=Info)
    async def gc_info(self, msg: Message, req: Info) -> dict[str, int]:
        info = await self.in_order(functools.partial(self.backing.collector.info, req.epoch, req.get_count))
        await self._forget_clean()
        return info

    @request("gc-pending", service="content-backing")
    def gc_pending(self, msg: Message) -> dict[str, int]:
        """How many blobs were stored since the last gc-info."""
        return {"stored": self.backing.stored}

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
