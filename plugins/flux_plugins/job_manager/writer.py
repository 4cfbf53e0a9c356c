"""Writes to the KVS: eventlog appends of all jobs, batched.

One commit is under way at a time; what comes meanwhile goes into the next one. A quiet instance writes at once,
a busy one in few large commits, and the order of a job's events is that of its eventlog in either case. On a full disk
a commit waits for room, and what comes meanwhile stays in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.failpoint import failpoint
from flux.job.fluid import encode
from flux.kvs.patient import PatientCommit
from flux.kvs.txn import KVSTxn
from flux.module.log import Logger

__all__ = ["Committed", "EventWriter"]

Committed = Callable[[FluxError | None], None]
_encode_json = msgspec.json.Encoder().encode


class EventWriter:
    """The job manager's one writer.

    Args:
        flux: handle to commit with. log: where a failed commit is reported.
    """

    def __init__(self, flux: AsyncFlux, log: Logger) -> None:
        self._flux = flux
        self._log = log
        self._lines: dict[int, list[bytes]] = {}
        self._txn = KVSTxn()
        self._waiting: list[Committed] = []
        self._scheduled = False
        self._commit_under_way: PatientCommit | None = None
        self._closing = False
        self._delay = 0.0
        self.commits = 0
        self.events = 0

    def append(self, jobid: int, event: Any) -> None:
        """Append an event to the eventlog of a job."""
        line = _encode_json(event)
        lines = self._lines.get(jobid)
        if lines is None:
            self._lines[jobid] = [line]
        else:
            lines.append(line)
        self.events += 1
        self._schedule()

    def put(self, key: str, value: Any) -> None:
        """Set a key to the JSON of an object."""
        self._txn.put(key, value)
        self._schedule()

    def unlink(self, key: str) -> None:
        """Remove a key."""
        self._txn.unlink(key)
        self._schedule()

    def on_commit(self, callback: Committed) -> None:
        """Call back with None, or the error, once everything written until now is in the KVS."""
        if self._lines or self._txn.ops or self._commit_under_way:
            self._waiting.append(callback)
            self._schedule()
        else:
            callback(None)

    def set_delay(self, seconds: float) -> None:
        """Let events gather for so long before a commit; by default for one turn of the loop."""
        self._delay = seconds

    def _schedule(self) -> None:
        if not self._scheduled and not self._commit_under_way:
            self._scheduled = True
            if self._delay and not self._closing:
                self._flux.loop.call_later(self._delay, self._commit)
            else:
                self._flux.loop.call_soon(self._commit)

    def _commit(self) -> None:
        self._scheduled = False
        if not (self._lines or self._txn.ops):
            self._settle([], None)
            return
        lines, self._lines = self._lines, {}
        txn, self._txn = self._txn, KVSTxn()
        for jobid, events in lines.items():
            events.append(b"")
            txn.append(f"{encode(jobid, 'kvs')}.eventlog", b"\n".join(events))
        waiting, self._waiting = self._waiting, []
        self.commits += 1
        failpoint("job-manager.commit")
        self._commit_under_way = commit = PatientCommit(self._flux, txn, namespace="primary")
        if self._closing:
            commit.give_up()
        commit.then(self._committed, waiting)

    def _committed(self, future: Any, waiting: list[Committed]) -> None:
        error = None
        try:
            future.get()
            failpoint("job-manager.committed")
        except FluxError as exc:
            error = exc
            self._log.error("a commit of job events failed", error=str(exc))
        self._commit_under_way = None
        self._settle(waiting, error)

    def _settle(self, waiting: list[Committed], error: FluxError | None) -> None:
        for callback in waiting:
            callback(error)
        if self._lines or self._txn.ops:
            self._schedule()
            return
        late, self._waiting = self._waiting, []
        for callback in late:
            callback(error)

    async def drain(self) -> None:
        """Wait until everything written until now is in the KVS, or could not be written; do not wait for room."""
        self._closing = True
        if self._commit_under_way is not None:
            self._commit_under_way.give_up()
        done: asyncio.Future[None] = self._flux.loop.create_future()
        self.on_commit(lambda _error: None if done.done() else done.set_result(None))
        await done

    def stats(self) -> dict[str, Any]:
        """How many commits and events there were, how many events wait, and whether they wait for room on the disk."""
        pending = sum(map(len, self._lines.values()))
        return {"commits": self.commits, "events": self.events, "pending": pending, "full": self._waits_for_room}

    @property
    def _waits_for_room(self) -> bool:
        return self._commit_under_way is not None and self._commit_under_way.waiting
