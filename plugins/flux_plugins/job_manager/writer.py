"""Writes to the KVS: eventlog appends of all jobs, batched.

One commit is under way at a time; what comes meanwhile goes into the next one. A quiet instance writes at once. In a
busy one, what the scheduler and the execution service tell of a job gathers for some milliseconds, until somebody
waits for it. The order of a job's events is that of its eventlog in either case. On a full disk a commit waits for
room, and what comes meanwhile stays in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

COMMIT_RATE = 50.0
"""Commits a second that are made at once, in the long run; beyond that, only those that somebody waits for are."""

COMMIT_BURST = 20.0
"""Commits that may be made at once after a quiet time."""

Committed = Callable[[FluxError | None], None]
_encode_json = msgspec.json.Encoder().encode


class Pace:
    """A bucket of tokens, one for each commit.

    Args:
        rate: tokens that come in a second. burst: that it holds. now: gives the time in seconds.
    """

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._tokens = burst
        self._since = now()

    def wait(self) -> float:
        """Seconds until there is a token; 0 when there is one."""
        return max(0.0, (1.0 - self._refill()) / self._rate)

    def spend(self) -> None:
        """Take a token, or what there is of one."""
        self._tokens = max(0.0, self._refill() - 1.0)

    def _refill(self) -> float:
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now
        return self._tokens


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
        self._scheduled: asyncio.Handle | None = None
        self._is_soon = False
        self._urgent = False
        self._patient = False
        self._commit_under_way: PatientCommit | None = None
        self._closing = False
        self._delay: float | None = None
        self._pace = Pace(COMMIT_RATE, COMMIT_BURST, flux.loop.time)
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
        self._schedule(not self._patient)

    def put(self, key: str, value: Any) -> None:
        """Set a key to the JSON of an object."""
        self._txn.put(key, value)
        self._schedule(not self._patient)

    def unlink(self, key: str) -> None:
        """Remove a key."""
        self._txn.unlink(key)
        self._schedule(not self._patient)

    def on_commit(self, callback: Committed) -> None:
        """Call back with None, or the error, once everything written until now is in the KVS.

        It is at once, unless this is asked within `unhurried`.
        """
        if not (self._lines or self._txn.ops or self._commit_under_way):
            callback(None)
            return
        self._waiting.append(callback)
        self._schedule(not self._patient)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is written or waited for within may wait for more, in a busy instance."""
        self._patient = True
        try:
            yield
        finally:
            self._patient = False

    def set_delay(self, seconds: float) -> None:
        """Let events gather for so long before each commit, rather than as the load asks for."""
        self._delay = seconds

    def _schedule(self, urgent: bool) -> None:
        """Have a commit follow: in this turn of the loop if it is urgent, once the one under way has ended."""
        self._urgent = self._urgent or urgent
        if self._commit_under_way is not None:
            return
        delay = self._wait()
        if self._scheduled is not None:
            if delay or self._is_soon:
                return
            self._scheduled.cancel()
        self._is_soon = not delay
        loop = self._flux.loop
        self._scheduled = loop.call_later(delay, self._commit) if delay else loop.call_soon(self._commit)

    def _wait(self) -> float:
        """Seconds until the next commit."""
        if self._closing:
            return 0.0
        if self._delay is not None:
            return self._delay
        return 0.0 if self._urgent else self._pace.wait()

    def _commit(self) -> None:
        self._scheduled = None
        if not (self._lines or self._txn.ops):
            self._settle([], None)
            return
        lines, self._lines = self._lines, {}
        txn, self._txn = self._txn, KVSTxn()
        for jobid, events in lines.items():
            events.append(b"")
            txn.append(f"{encode(jobid, 'kvs')}.eventlog", b"\n".join(events))
        waiting, self._waiting = self._waiting, []
        self._urgent = False
        self.commits += 1
        self._pace.spend()
        failpoint("job-manager.commit")
        try:
            self._commit_under_way = commit = PatientCommit(self._flux, txn, namespace="primary")
        except FluxError as exc:  # the broker is gone
            self._settle(waiting, exc)
            return
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
            self._schedule(False)
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
