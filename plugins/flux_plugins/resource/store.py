"""What the resource service keeps in the KVS: the inventory, and its eventlog (RFC 44)."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from flux.errors import FluxError
from flux.eventlog import Event, encode
from flux.kvs import KVSTxn
from flux.kvs.patient import PatientCommit
from flux.module import Module

__all__ = ["EVENTLOG", "R_KEY", "Store", "stored"]

EVENTLOG = "resource.eventlog"
R_KEY = "resource.R"


class Store:
    """Writes with one commit what belongs to one turn of the loop, or came while another commit was under way."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._txn = KVSTxn()
        self._busy = False

    def put_R(self, R: dict[str, Any]) -> None:
        """Keep the inventory."""
        self._schedule()
        self._txn.put(R_KEY, R)

    def append(self, event: dict[str, Any]) -> None:
        """Add an event (RFC 18, decoded) to the eventlog."""
        self._schedule()
        self._txn.append(EVENTLOG, Event(**event).encode())

    def put_eventlog(self, events: Iterable[Event]) -> None:
        """Put other events in the place of the eventlog."""
        self._schedule()
        self._txn.put_raw(EVENTLOG, encode(events))

    def _schedule(self) -> None:
        if not self._txn.ops:
            self._module.flux.call_soon(self._commit)

    def _commit(self) -> None:
        if self._busy or not self._txn.ops:
            return
        self._busy = True
        txn, self._txn = self._txn, KVSTxn()
        PatientCommit(self._module.flux, txn, namespace="primary").then(self._committed)

    def _committed(self, commit: Any) -> None:
        self._busy = False
        try:
            commit.get()
        except FluxError as exc:
            self._module.log.error(f"{EVENTLOG} could not be stored: {exc}")
        self._commit()


def stored(module: Module, key: str, lookup: Any) -> bytes | None:
    """The value that a lookup has found; None when there is none, or no KVS. Other errors are logged."""
    try:
        value: bytes = lookup.value()
    except OSError as exc:
        if exc.errno not in (errno.ENOENT, errno.ENOSYS, errno.ENOTSUP):
            module.log.error(f"{key}: {exc}")
        return None
    return value
