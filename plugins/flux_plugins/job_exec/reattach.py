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
    """

    def __init__(self, eventlog: list[Event], exec_eventlog: list[Event]) -> None:
        self.known = {event.name for event in eventlog}
        self.fatal = any(event.name == "exception" and event.context.get("severity") == 0 for event in eventlog)
        self.began = next((event.timestamp for event in exec_eventlog if event.name == "starting"), 0.0)
        ends = [event.context for event in exec_eventlog if event.name == "shell-exit"]
        self.statuses: dict[int, int] = {end["rank"]: end["wait_status"] for end in ends}


class Reattachment:
    """Reads the eventlogs of a job, and then lets it go on, or begin, or not.

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
        self._eventlog: list[Event] = []
        key = f"{encode_id(run.id, 'kvs')}.eventlog"
        self._guest = lookup_async(handle, "exec.eventlog", namespace=run.guest.namespace)
        lookup_async(handle, key, namespace="primary").then(self._read)

    def _read(self, lookup: Any) -> None:
        try:
            self._eventlog = decode_eventlog(lookup.value())
        except (FluxError, ValueError) as exc:
            self._fail(f"its eventlog cannot be read: {exc}")
            return
        self._guest.then(self._read_guest)

    def _read_guest(self, lookup: Any) -> None:
        try:
            if _was_never_begun(lookup):
                nothing = History(self._eventlog, [])
                if "start" not in nothing.known:
                    self._begin(nothing)
                    return
            history = History(self._eventlog, decode_eventlog(lookup.value()))
        except (FluxError, ValueError, KeyError) as exc:
            self._fail(f"what its shells did cannot be read: {exc}")
            return
        self._go_on(history)


def _was_never_begun(lookup: Any) -> bool:
    """There is no guest namespace, or nothing in it."""
    try:
        lookup.value()
    except FluxError as exc:
        return exc.errno in (errno.ENOTSUP, errno.ENOENT)
    return False
