"""The job-archive service: follows the job manager's journal, and writes inactive jobs now and then."""

from __future__ import annotations

import os
from typing import Any

from flux.errors import FluxError
from flux.message import FLAG_STREAMING, Message
from flux.module import Module, event
from flux_plugins.job_archive.database import Database, Row
from flux_plugins.job_archive.record import Record
from flux_plugins.job_archive.settings import read_settings

__all__ = ["JobArchive"]


class JobArchive(Module):
    """Jobs in an SQLite database."""

    name = "job-archive"
    requires = ("job-manager",)
    after = ("job-manager",)
    ranks = "0"

    def __init__(self) -> None:
        self.settings = read_settings(self.conf.get("archive") or {})
        self._records: dict[int, Record] = {}
        self._rows: list[Row] = []
        self._archived = self._failures = 0
        self._journal: Any = None
        self._timer: Any = None

    def start(self) -> None:
        folder = self.attrs.get("statedir") or self.attrs["rundir"]
        path = self.settings.dbpath or os.path.join(folder, "job-archive.sqlite")
        self._database = Database(path, self.settings.busytimeout)
        self._follow()
        self._set_timer()

    async def stop(self) -> None:
        self._timer.cancel()
        self._journal.cancel("job-manager.events-journal-cancel")
        await self._write()
        self._database.close()

    def reconfigured(self, conf: dict[str, Any]) -> None:
        """The path is that of the start; the period may change."""
        self.settings = read_settings(conf.get("archive") or {})

    def stats(self) -> dict[str, int]:
        """archived: rows written. waiting: inactive jobs that are not yet. failures: of writes, each tried again."""
        return {"archived": self._archived, "waiting": len(self._rows), "failures": self._failures}

    # -- the journal

    def _follow(self) -> None:
        self._journal = self.flux.rpc("job-manager.events-journal", {"full": True}, flags=FLAG_STREAMING)
        self._journal.then(self._received)

    @event("module.restarted")
    def module_restarted(self, msg: Message) -> None:
        """Follow a new job manager from the beginning."""
        if msg.payload["rank"] == self.rank and msg.payload["name"] == "job-manager":
            self._records.clear()
            self._follow()

    def _received(self, journal: Any) -> None:
        while journal.is_ready():
            try:
                entry = journal.get()
            except FluxError as exc:
                self.log.debug(f"the journal has ended: {exc}")
            else:
                self._take(entry)
            journal.reset()

    def _take(self, entry: dict[str, Any]) -> None:
        jobid = entry["id"]
        if jobid < 0:
            return
        record = self._records.setdefault(jobid, Record(jobid))
        record.apply(entry)
        if record.complete:
            self._rows.append(self._records.pop(jobid).row())

    # -- the database

    def _set_timer(self) -> None:
        self._timer = self.flux.call_later(self.settings.period, self._due)

    def _due(self) -> None:
        self.spawn(self._write_and_wait(), "write")

    async def _write_and_wait(self) -> None:
        await self._write()
        self._set_timer()

    async def _write(self) -> None:
        """Write what waits; keep it for the next time when that fails."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            await self.flux.loop.run_in_executor(None, self._database.add, rows)
        except FluxError as exc:
            self._failures += 1
            self._rows = rows + self._rows
            self.log.error(f"{len(rows)} jobs could not be archived, and will be tried again: {exc}")
        else:
            self._archived += len(rows)
