"""The guest KVS namespace of a job: made with its first events, kept with the job at its end (RFC 16).

On a full disk what was made waits for room, one commit at a time so that events keep their order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from flux.core.aio import AsyncFlux
from flux.eventlog import Event
from flux.job.fluid import encode as encode_id
from flux.kvs import KVSTxn, namespace_remove_async
from flux.kvs.patient import PatientCommit, PatientRPC

__all__ = ["Guest"]

_EVENTLOG = "exec.eventlog"


class Guest:
    """One namespace, and the link or copy of it in the job's directory.

    Args:
        owner: userid of the job.
        on_error: called with what went wrong after the namespace was made.

    Attributes:
        is_kept: the namespace was ended before, and is kept with the job: nothing is added, or done at the end.
    """

    def __init__(self, flux: AsyncFlux, jobid: int, owner: int, on_error: Callable[[str], None]) -> None:
        self.namespace = f"job-{jobid}"
        self._flux = flux
        self._owner = owner
        self._key = f"{encode_id(jobid, 'kvs')}.guest"
        self._lines: list[str] = []
        self._flush_due = False
        self._writing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._on_sealed: Callable[[], None] | None = None
        self._on_error = on_error
        self.is_kept = False

    # -- begin

    def create(self, on_ready: Callable[[str], None]) -> None:
        """Make the namespace, write the events logged so far, link it; then call back with "" or an error.

        A namespace that is there is one that a service made which was lost before it did anything else.
        """
        request = {"namespace": self.namespace, "key": self._key, "owner": self._owner, "ops": self._take_log().ops}
        begin = self._flux.rpc("kvs.guest-begin", request, nodeid=0)
        begin.then(lambda rpc: on_ready(rpc.error_string() or ""))

    # -- events

    def log(self, name: str, context: dict[str, Any]) -> None:
        """Add an event; it is written when `create`, `flush` or `seal` is called."""
        self._lines.append(Event(time.time(), name, context).encode())

    def flush(self) -> None:
        """Write what was logged in this turn of the loop."""
        if self._lines and not self._flush_due:
            self._flush_due = True
            self._flux.call_soon(self._flush)

    async def settle(self) -> None:
        """Wait until all that was logged is written."""
        self._flush()
        await self._idle.wait()

    def _flush(self) -> None:
        self._flush_due = False
        if self._lines and not self._writing:
            self._write()

    def _write(self) -> None:
        self._writing = True
        self._idle.clear()
        PatientCommit(self._flux, self._take_log(), namespace=self.namespace).then(self._written)

    def _written(self, commit: Any) -> None:
        self._writing = False
        self._check(commit)
        if self._on_sealed is not None:
            self.seal(self._on_sealed)
        elif self._lines:
            self._write()
        else:
            self._idle.set()

    def _take_log(self) -> KVSTxn:
        lines, self._lines = self._lines, []
        return KVSTxn().append(_EVENTLOG, "".join(lines))

    def _check(self, rpc: Any) -> None:
        text = rpc.error_string()
        if text:
            self._on_error(f"{self.namespace}: {text}")

    # -- end

    def seal(self, on_done: Callable[[], None]) -> None:
        """Write the last events, put a snapshot in the link's place, remove the namespace; then call back."""
        if self.is_kept:
            on_done()
            return
        if self._writing:
            self._on_sealed = on_done
            return
        request = {"namespace": self.namespace, "key": self._key, "ops": self._take_log().ops}
        PatientRPC(self._flux, lambda: self._flux.rpc("kvs.guest-end", request, nodeid=0)).then(self._sealed, on_done)

    def _sealed(self, rpc: Any, on_done: Callable[[], None]) -> None:
        text = rpc.error_string()
        if text:
            self._on_error(f"{self.namespace} could not be kept: {text}")
            self._remove(on_done)
        else:
            on_done()

    def _remove(self, on_done: Callable[[], None]) -> None:
        namespace_remove_async(self._flux, self.namespace).then(self._removed, on_done)

    def _removed(self, rpc: Any, on_done: Callable[[], None]) -> None:
        self._check(rpc)
        on_done()
