"""Garbage collection in the database, where each row bears its epoch (`flux.collecting`)."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING, Any

from flux.collecting import Collector
from flux.errors import FluxError

if TYPE_CHECKING:
    from flux_plugins.content_sqlite.database import Database

__all__ = ["RowCollector"]

_SPARE = 0.25
_PAGES_AT_ONCE = 2000
_INCREMENTAL = 2
_TOUCHED_AT_ONCE = 10_000
_TOUCH = "UPDATE objects SET epoch = ? WHERE hash = CAST(? AS TEXT) AND epoch < ?"
_STALE = "SELECT rowid FROM objects WHERE rowid > ? AND rowid <= ? AND epoch <= ? ORDER BY rowid LIMIT ?"


class RowCollector(Collector):
    """Epochs of a database's blobs.

    Args:
        database: used by the thread that stores, but for `touch`.

    Attributes:
        touching: there has been a collection, loads have to be told to `touch`.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.touching = False
        self._touched: set[bytes] = set()

    def info(self, epoch: int, get_count: bool) -> dict[str, int]:
        with self.database.loading:
            self._note_touched(self.database.db)
        if not self.touching:
            (self.database.epoch,) = self._one("SELECT coalesce(max(epoch), 0) FROM objects")
        (last,) = self._one("SELECT coalesce(max(rowid), 0) FROM objects")
        current = self.database.epoch
        self.database.epoch = current + 1
        self.stored = 0
        self.touching = True
        info = {"current_epoch": current, "high_water": last}
        if get_count:
            (info["candidates"],) = self._one("SELECT count(*) FROM objects WHERE epoch <= ?", epoch)
        return info

    def mark(self, epoch: int, digests: list[bytes]) -> int:
        epoch = max(epoch, self.database.epoch)
        present = sum(
            self._one("SELECT count(*) FROM objects WHERE hash = CAST(? AS TEXT)", digest)[0] for digest in digests
        )
        self._write(self.database.db, _TOUCH, [(epoch, digest, epoch) for digest in digests])
        return present

    def touch(self, digest: bytes) -> None:
        """A blob is loaded, under `Database.loading`, and may be referred to again: noted by `sweep` at the latest."""
        self._touched.add(digest)
        if len(self._touched) % _TOUCHED_AT_ONCE == 0:
            with contextlib.suppress(FluxError):  # a load succeeds all the same; sweep tries again, and tells
                self._note_touched(self.database.reader)

    def _note_touched(self, db: sqlite3.Connection) -> None:
        if self._touched:
            epoch = self.database.epoch
            self._write(db, _TOUCH, [(epoch, digest, epoch) for digest in self._touched])
            self._touched.clear()

    def sweep(self, epoch: int, cursor: int, high_water: int, delete_cap: int, window: int) -> tuple[int, int]:
        """Remove rows, and when the last one is reached, give back room: see `flux.collecting.Collector`.

        While there is more to give back, the cursor stays before high_water.
        """
        if not self.touching or epoch >= self.database.epoch:
            raise FluxError(errno.ESTALE, f"the collection of epoch {epoch} is not under way: begin with gc-info")
        end = min(cursor + window, high_water)
        with self.database.loading:
            self._note_touched(self.database.db)
            rows = self._all(_STALE, cursor, end, epoch, delete_cap)
            self._write(self.database.db, "DELETE FROM objects WHERE rowid = ?", rows)
        reached = rows[-1][0] if len(rows) == delete_cap else max(end, cursor)
        if reached >= high_water > 0 and self._shrink():
            reached = high_water - 1
        return len(rows), reached

    def _shrink(self) -> bool:
        """Give some pages back to the disk when many are free; True when there are more to give back."""
        (pages,), (free,) = self._one("PRAGMA page_count"), self._one("PRAGMA freelist_count")
        spare = free - int(pages * _SPARE)
        if spare <= 0 or self._one("PRAGMA auto_vacuum") != (_INCREMENTAL,):
            return False
        try:  # as a script: execute() would stop at the first page
            self.database.db.executescript(f"PRAGMA incremental_vacuum({min(spare, _PAGES_AT_ONCE)})")
        except sqlite3.Error as exc:
            self.database.fail("shrinking", exc)
        return spare > _PAGES_AT_ONCE

    def _one(self, query: str, *values: Any) -> Any:
        return self._all(query, *values)[0]

    def _all(self, query: str, *values: Any) -> list[Any]:
        try:
            return self.database.db.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            self.database.fail("reading", exc)

    def _write(self, db: sqlite3.Connection, statement: str, rows: list[Any]) -> None:
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(statement, rows)
        except sqlite3.Error as exc:
            self.database.fail("writing", exc)
