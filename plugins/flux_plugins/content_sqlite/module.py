"""The content-sqlite module: service `content-backing` on rank 0, over one SQLite file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from flux.backing import BackingStore
from flux.collecting import CollectingModule
from flux_plugins.content_sqlite.database import Database

__all__ = ["ContentSqlite", "Options"]


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of the content-sqlite module.

    Attributes:
        path: of the database file; default: attribute content.backing-path, else "content.sqlite" in statedir, else
            in rundir.
        compress_from: smallest blob, in bytes, that is tried to compress.
        reserve: bytes kept aside on a lasting disk, for what has been acknowledged when the disk is full.
        check: look for damage at start, which reads the whole file.
        journal_mode, synchronous: SQLite's pragmas; without `synchronous`, NORMAL in a file that lasts, else OFF.
    """

    path: str = ""
    compress_from: int = 1024
    reserve: int = 4 << 20
    check: bool = True
    journal_mode: Literal["WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"] = "WAL"
    synchronous: Literal["", "EXTRA", "FULL", "NORMAL", "OFF"] = ""


class ContentSqlite(CollectingModule):
    """Keep blobs and checkpoints in SQLite."""

    name = "content-sqlite"
    options_type = Options

    async def opener(self) -> Callable[[], BackingStore]:
        path, durable = await self.choose_path(self.options.path, "content.sqlite")
        options = self.options
        return lambda: Database(
            path,
            durable,
            options.compress_from,
            reserve=options.reserve if durable else 0,
            check=options.check,
            journal_mode=options.journal_mode,
            synchronous=options.synchronous,
        )
