"""The database file: blobs by digest, and checkpoints of the KVS root. Blocking; used from one thread.

The tables are those of flux-core's content-sqlite, so that either reads what the other has written: digests are bound
as text, `size` is -1 for a blob as it is, else the length of what the LZ4 block unpacks to.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from typing import Any, NoReturn

import msgspec

from flux.backing import Blobs
from flux.collecting import CollectingStore
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.reserve import Reserve
from flux_plugins.content_sqlite.collect import RowCollector

__all__ = ["Database"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects(hash BLOB PRIMARY KEY, size INT, object BLOB, epoch INT DEFAULT 0);
CREATE TABLE IF NOT EXISTS checkpt_v2(id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, value TEXT);
"""
_INSERT = """
INSERT INTO objects(hash, size, object, epoch) VALUES (CAST(? AS TEXT), ?, ?, ?)
ON CONFLICT(hash) DO UPDATE SET epoch = excluded.epoch WHERE epoch < excluded.epoch
"""
_PLAIN = -1
_KEPT_CHECKPOINTS = 5
_CACHE_KIB = 16 << 10
_LOG_PAGES = 8192  # digests are random: a page of their index changes often, and is copied from the log once for all
_NO_ROOM = (sqlite3.SQLITE_FULL,)


class Database(CollectingStore):
    """An open database.

    Args:
        path: of the file; made when it is not there.
        durable: True to survive a crash of the machine, not only of the broker.
        compress_from: smallest blob, in bytes, that is tried to compress.
        reserve: bytes to keep aside for when the disk is full.
        check: look for damage now, which reads the whole file.
        journal_mode, synchronous: SQLite's pragmas of these names; "" for what suits `durable`.

    Attributes:
        epoch: what new blobs are marked with. collector: removes those that are not in use.
        reader: the connection that loads; another one in write-ahead mode, where reading does not wait for writing.
        loading: held while a blob is loaded, so that one is not removed before it is known to be in use.

    Raises:
        FluxError: EIO, with SQLite's own words, or ENOSPC, here and in every method.
    """

    def __init__(
        self,
        path: str,
        durable: bool = True,
        compress_from: int = 1024,
        *,
        reserve: int = 0,
        check: bool = True,
        journal_mode: str = "WAL",
        synchronous: str = "",
    ) -> None:
        self.path = path
        self.compress_from = compress_from
        self.epoch = 0
        self.collector = RowCollector(self)
        self.loading = threading.Lock()
        self._reserve = Reserve(f"{path}.reserve", reserve)
        synchronous = synchronous or ("NORMAL" if durable else "OFF")
        self.config = {"journal_mode": journal_mode, "synchronous": synchronous}
        try:
            self.db = _connect(path)
            self.db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only of a new file
            (mode,) = self.db.execute(f"PRAGMA journal_mode={journal_mode}").fetchone()
            self.db.execute(f"PRAGMA synchronous={synchronous}")
            self.db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self.db.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")
            if check:
                self._check()
            self._make_tables()
            self.beside = mode == "wal"
            self.reader = _connect(path) if self.beside else self.db
        except sqlite3.Error as exc:
            self.fail("opening", exc)
        self.full = not self._reserve.take()

    def _check(self) -> None:
        """FluxError EIO when the file is damaged."""
        (found,) = self.db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise FluxError(errno.EIO, f"{self.path} is damaged: {found}: restore it from a dump")

    def _make_tables(self) -> None:
        self.db.executescript(_SCHEMA)
        columns = [row[1] for row in self.db.execute("PRAGMA table_info(objects)")]
        if "epoch" not in columns:  # a file from before garbage collection
            self.db.execute("ALTER TABLE objects ADD COLUMN epoch INT DEFAULT 0")

    def fail(self, doing: str, exc: sqlite3.Error) -> NoReturn:
        """Raise FluxError ENOSPC or EIO for an error of SQLite."""
        code = errno.ENOSPC if getattr(exc, "sqlite_errorcode", 0) in _NO_ROOM else errno.EIO
        raise FluxError(code, f"{doing} {self.path}: {exc}") from None

    def close(self) -> None:
        self.reader.close()
        self.db.close()
        self._reserve.release()

    # -- blobs

    def store(self, blobs: Blobs) -> None:
        if not blobs:
            if self.full:
                self.full = not self._reserve.take()
            return
        rows = [(digest, *self._pack(blob), self.epoch) for digest, blob in blobs]
        self.collector.stored += len(rows)
        self._reserve.write(self, lambda: self._insert(rows))

    def _insert(self, rows: list[tuple[bytes, int, bytes, int]]) -> None:
        try:
            with self.db:
                self.db.execute("BEGIN")
                self.db.executemany(_INSERT, rows)
                failpoint("sqlite.store")
        except sqlite3.Error as exc:
            self.fail("writing", exc)
        failpoint("sqlite.stored")

    def _pack(self, blob: bytes) -> tuple[int, bytes]:
        if len(blob) >= self.compress_from:
            import lz4.block

            packed: bytes = lz4.block.compress(blob, store_size=False)
            if len(packed) < len(blob):
                return len(blob), packed
        return _PLAIN, blob

    def _unpack(self, digest: bytes, size: int, blob: bytes) -> bytes:
        if size == _PLAIN:
            return bytes(blob)
        import lz4.block

        try:
            unpacked: bytes = lz4.block.decompress(blob, uncompressed_size=size)
        except (lz4.block.LZ4BlockError, ValueError, OverflowError, MemoryError) as exc:
            raise FluxError(errno.EIO, f"blob {digest.hex()} in {self.path} is damaged: {exc}") from None
        return unpacked

    def load(self, digest: bytes) -> bytes:
        with self.loading:
            row = self._row("SELECT size, object FROM objects WHERE hash = CAST(? AS TEXT)", digest)
            if self.collector.touching:
                self.collector.touch(digest)
        return self._unpack(digest, *row)

    def validate(self, digest: bytes) -> None:
        with self.loading:
            self._row("SELECT 1 FROM objects WHERE hash = CAST(? AS TEXT)", digest)

    def _row(self, query: str, digest: bytes) -> Any:
        try:
            row = self.reader.execute(query, (digest,)).fetchone()
        except sqlite3.Error as exc:
            self.fail("reading", exc)
        if row is None:
            raise FluxError(errno.ENOENT)
        return row

    # -- checkpoints

    def checkpoints(self) -> list[dict[str, Any]]:
        try:
            rows = self.db.execute("SELECT value FROM checkpt_v2 ORDER BY id DESC").fetchall()
            values = [msgspec.json.decode(value, type=dict[str, Any]) for (value,) in rows]
        except sqlite3.Error as exc:
            self.fail("reading", exc)
        except msgspec.MsgspecError as exc:
            raise FluxError(errno.EIO, f"a checkpoint in {self.path} is damaged: {exc}") from None
        if not values:
            raise FluxError(errno.ENOENT, "there is no checkpoint")
        return values

    def put_checkpoint(self, value: dict[str, Any], alone: bool = False) -> None:
        kept = 1 if alone else _KEPT_CHECKPOINTS
        text = msgspec.json.encode({"timestamp": time.time(), **value}).decode()
        try:
            with self.db:
                self.db.execute("BEGIN")
                newest = self.db.execute("INSERT INTO checkpt_v2(value) VALUES (?)", (text,)).lastrowid or 0
                self.db.execute("DELETE FROM checkpt_v2 WHERE id <= ?", (newest - kept,))
                failpoint("sqlite.checkpoint")
            failpoint("sqlite.recorded")
            self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as exc:
            self.fail("writing", exc)

    def stats(self) -> dict[str, Any]:
        """Number of blobs and bytes on disk, the settings, the checkpoints."""
        try:
            count, size = self.db.execute("SELECT count(*), coalesce(sum(length(object)), 0) FROM objects").fetchone()
            pages, page = (self.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            rows = self.db.execute("SELECT id, value FROM checkpt_v2 ORDER BY id DESC").fetchall()
        except sqlite3.Error as exc:
            self.fail("reading", exc)
        found = [{"id": number, "value": msgspec.json.decode(value)} for number, value in rows]
        sizes = {"object_count": count, "object_size": size, "dbfile_size": pages * page, "dbfile_free": self._free()}
        return {**sizes, "config": self.config, "checkpoints": found}

    def _free(self) -> int:
        """Bytes left where the file is; 0 for a database in memory."""
        folder = os.path.dirname(os.path.abspath(self.path))
        if self.path == ":memory:":
            return 0
        disk = os.statvfs(folder)
        return disk.f_bavail * disk.f_frsize


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)
