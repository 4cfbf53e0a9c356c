"""The guest KVS namespace of a job: made with its first events, kept with the job at its end (RFC 16).

On a full disk what was made waits for room, one commit at a time so that events keep their order.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from typing import Any

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.eventlog import Event
from flux.job.fluid import encode as encode_id
from flux.kvs import KVSTxn, commit_async, namespace_create_async, namespace_remove_async, treeobj
from flux.kvs.patient import PatientCommit

__all__ = ["Guest"]

_EVENTLOG = "exec.eventlog"


class Guest:
    """One namespace, and the link or copy of it in the job's directory.

    Args:
        owner: userid of the job.
        on_error: called with what went wrong after the namespace was made.
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

    # -- begin

    def create(self, on_ready: Callable[[str], None]) -> None:
        """Make the namespace, write the events logged so far, link it; then call back with "" or an error.

        A namespace that is there is one that a service made which was lost before it did anything else.
        The three requests go out at once: the KVS takes those of one client in order.
        """
        requests = [namespace_create_async(self._flux, self.namespace, self._owner)]
        requests.append(commit_async(self._flux, self._take_log(), namespace=self.namespace))
        link = KVSTxn().symlink(self._key, ".", self.namespace)
        requests.append(commit_async(self._flux, link, namespace="primary"))
        left = len(requests)
        error = ""

        def answered(rpc: Any) -> None:
            nonlocal left, error
            left -= 1
            error = error or _problem(rpc)
            if not left:
                on_ready(error)

        for rpc in requests:
            rpc.then(answered)

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
        if self._writing:
            self._on_sealed = on_done
            return
        PatientCommit(self._flux, self._take_log(), namespace=self.namespace).then(self._keep, on_done)

    def _keep(self, commit: Any, on_done: Callable[[], None]) -> None:
        try:
            rootref = commit.get()["rootref"]
        except FluxError as exc:
            self._on_error(f"{self.namespace} could not be kept: {exc}")
            self._remove(on_done)
            return
        txn = KVSTxn().put_treeobj(self._key, treeobj.dirref(rootref))
        PatientCommit(self._flux, txn, namespace="primary").then(self._kept, on_done)

    def _kept(self, commit: Any, on_done: Callable[[], None]) -> None:
        self._check(commit)
        self._remove(on_done)

    def _remove(self, on_done: Callable[[], None]) -> None:
        namespace_remove_async(self._flux, self.namespace).then(self._removed, on_done)

    def _removed(self, rpc: Any, on_done: Callable[[], None]) -> None:
        self._check(rpc)
        on_done()


def _problem(rpc: Any) -> str:
    """The text of an error, but for a namespace that is there already; else ""."""
    try:
        rpc.get()
    except FluxError as exc:
        return "" if exc.errno == errno.EEXIST else str(exc)
    return ""
