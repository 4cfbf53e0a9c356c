"""Takes over a job whose shells another execution service started: what it did is in the job's eventlogs (RFC 32)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.eventlog import Event
from flux.eventlog import decode as decode_eventlog
from flux.job.fluid import encode as encode_id
from flux.kvs import lookup_async

if TYPE_CHECKING:
    from flux_plugins.job_exec.run import Run

__all__ = ["History", "Reattachment"]


class History:
    """What happened to a job so far.

    Attributes:
        known: names of the events of its eventlog. began: when its shells were launched, seconds since the epoch.
        fatal: an exception has ended it. statuses: wait status of each broker rank whose shell has ended.
        ended: the job's wait status, None unless all its shells are known to have ended.
        is_lost: its guest namespace, and so its output, is gone.
    """

    is_lost = False

    def __init__(self, eventlog: list[Event], exec_eventlog: list[Event]) -> None:
        self.known = {event.name for event in eventlog}
        self.fatal = any(event.name == "exception" and event.context.get("severity") == 0 for event in eventlog)
        self.began = next((event.timestamp for event in exec_eventlog if event.name == "starting"), 0.0)
        ends = [event.context for event in exec_eventlog if event.name == "shell-exit"]
        self.statuses: dict[int, int] = {end["rank"]: end["wait_status"] for end in ends}
        last = [event for event in (*eventlog, *exec_eventlog) if event.name in ("finish", "complete")]
        self.ended: int | None = last[-1].context.get("status") if last else None


class Reattachment:
    """Reads the eventlogs of a job, and then lets it go on, or begin, or not.

    After a crash of the instance there is no guest namespace: the job may have been kept before, with a checkpoint that
    knows of its end in one place and not in the other; else its shells are gone.

    Args:
        begin: called when the other service was lost before it had begun anything.
        fail: called with a text when the job cannot be taken over.
    """

    def __init__(
        self,
        run: Run,
        handle: Any,
        go_on: Callable[[History], None],
        begin: Callable[[History], None],
        fail: Callable[[str], None],
    ) -> None:
        self._go_on = go_on
        self._begin = begin
        self._fail = fail
        self._run, self._handle = run, handle
        self._eventlog: list[Event] = []
        self._key = encode_id(run.id, "kvs")
        self._guest = lookup_async(handle, "exec.eventlog", namespace=run.guest.namespace)
        lookup_async(handle, f"{self._key}.eventlog", namespace="primary").then(self._read)

    def _read(self, lookup: Any) -> None:
        try:
            self._eventlog = decode_eventlog(lookup.value())
        except (FluxError, ValueError) as exc:
            self._fail(f"the job was running when the execution service ended: its eventlog cannot be read: {exc}")
            return
        self._guest.then(self._read_guest)

    def _read_guest(self, lookup: Any) -> None:
        self._take_up(lookup, self._ask_kept)

    def _ask_kept(self) -> None:
        """There is no guest namespace, or nothing in it: look at what was kept of one."""
        key = f"{self._key}.guest.exec.eventlog"
        lookup_async(self._handle, key, namespace="primary").then(self._read_kept)

    def _read_kept(self, lookup: Any) -> None:
        self._take_up(lookup, self._without_guest, is_kept=True)

    def _take_up(self, lookup: Any, without: Callable[[], None], is_kept: bool = False) -> None:
        """Go on with what the looked-up eventlog of the shells tells; when it is not there, something else is done."""
        try:
            history = self._history(lookup)
        except (FluxError, ValueError, KeyError) as exc:
            text = f"what its shells did cannot be read: {exc}"
            self._fail(f"the job was running when the execution service ended: {text}")
            return
        if history is None:
            without()
        else:
            self._run.guest.is_kept = is_kept
            self._go_on(history)

    def _history(self, lookup: Any) -> History | None:
        """What the looked-up eventlog of the shells and that of the job tell; None when the first is not there."""
        try:
            return History(self._eventlog, decode_eventlog(lookup.value()))
        except FluxError as exc:
            if exc.errno in (errno.ENOTSUP, errno.ENOENT):
                return None
            raise

    def _without_guest(self) -> None:
        history = History(self._eventlog, [])
        history.is_lost = True
        if "start" not in history.known:
            self._begin(history)
        elif history.ended is None:
            self._fail("the instance crashed while the job was running: its processes and its output are lost")
        else:
            self._run.guest.create(lambda _error: self._go_on(history))
