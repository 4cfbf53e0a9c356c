"""The database: one row per inactive job, in the table that tools of flux-accounting read. Blocking."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from flux.errors import FluxError

__all__ = ["Database", "Row"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs(
  id CHAR(16) PRIMARY KEY, userid INT, ranks TEXT, t_submit REAL, t_run REAL, t_cleanup REAL, t_inactive REAL,
  eventlog TEXT, jobspec TEXT, R TEXT
)
"""
_INSERT = "INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Row(NamedTuple):
    """A job: id in decimal; times in seconds since the epoch, 0 for what did not come; texts as in the KVS."""

    id: str
    userid: int
    ranks: str
    t_submit: float
    t_run: float
    t_cleanup: float
    t_inactive: float
    eventlog: str
    jobspec: str
    R: str


class Database:
    """An open database.

    Args:
        path: of the file; made when it is not there. busytimeout: seconds to wait for another program's lock.

    Raises:
        FluxError: EIO with SQLite's own words and the path, here and in every method.
    """

    def __init__(self, path: str, busytimeout: float) -> None:
        self._path = path
        try:
            self._db = sqlite3.connect(path, timeout=busytimeout, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(_SCHEMA)
        except sqlite3.Error as exc:
            raise self._error(exc) from None

    def add(self, rows: Iterable[Row]) -> None:
        """Write all of the rows or none; jobs that are there already stay as they are."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(_INSERT, rows)
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise self._error(exc) from None

    def close(self) -> None:
        self._db.close()

    def _error(self, exc: Any) -> FluxError:
        return FluxError(errno.EIO, f"{self._path}: {exc}")
