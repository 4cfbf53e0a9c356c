"""The shell's eventlogs in the KVS: events gathered per turn of the reactor, one commit on its way at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from flux.errors import FluxError
from flux.eventlog import Event
from flux.kvs.patient import PatientCommit
from flux.kvs.txn import KVSTxn

__all__ = ["FIRST_HOLD", "START_HOLD", "Journal", "check_batch_timeout", "check_event", "check_extra"]

HIGH_WATER = 4 << 20
"""Characters that wait to be committed before tasks are made to wait too."""
FIRST_HOLD = 0.05
"""Seconds that the first events of a job on one node wait for its start, at most."""
START_HOLD = 0.01
"""Seconds that they wait for more once it has started: one commit for a job that ends at once."""
COMMIT_SIZE = 1 << 20
"""Characters of one key in a commit, about: each is a blob, which brokers and clients handle as a whole."""


def check_batch_timeout(kind: str, options: Mapping[str, Any]) -> None:
    """ValueError when the option KIND.batch-timeout is no time. It has no effect: nothing here waits for that long."""
    timeout = options.get("batch-timeout", 0)
    if not isinstance(timeout, int | float) or timeout < 0:
        raise ValueError(f"invalid {kind}.batch-timeout option: expected seconds, got {timeout!r}")


def check_event(name: Any, context: Any) -> None:
    """ValueError when an event of this name and context would be none (RFC 18)."""
    if type(name) is not str or name.split() != [name]:
        raise ValueError(f"the name of an event is text without blanks, not {name!r:.60}")
    if not isinstance(context, Mapping):
        raise ValueError(f"the context of event {name} is an object, not {context!r:.60}")
    _line(name, context)


_OWN_CONTEXT = {"shell.init": ("service", "leader-rank", "size"), "shell.start": ("taskmap",)}
"""What the shell itself says in the events that plugins may add to."""


def check_extra(name: str, context: Any) -> None:
    """ValueError when this cannot be added to the context of the shell's event of that name."""
    check_event(name, context)
    if taken := sorted(context.keys() & set(_OWN_CONTEXT.get(name, ()))):
        raise ValueError(f"{taken[0]} of the event {name} is what the shell itself says")


def _line(name: str, context: Mapping[str, Any]) -> str:
    """An event as a line of an eventlog, with the present time."""
    try:
        return Event(time.time(), name, context).encode()
    except (TypeError, OverflowError, RecursionError, UnicodeError) as exc:
        raise ValueError(f"the context of event {name} is not what JSON can hold: {exc}") from None


class Journal:
    """Appends to eventlogs (RFC 18) of the job's guest namespace.

    Args:
        flux: the handle. namespace: KVS namespace of the job. commit: how commits are made.
        hold: seconds that the first events wait for more at most, see `release_after`.
    """

    def __init__(
        self, flux: Any, namespace: str, commit: type[PatientCommit] = PatientCommit, hold: float = 0.0
    ) -> None:
        self._commit = commit
        self._flux = flux
        self._namespace = namespace
        self._pending: dict[str, list[str]] = {}
        self._in_flight = False
        self._is_held = bool(hold)
        if hold:
            self.release_after(hold)
        self.backlog = 0
        """Characters that are not committed yet."""
        self.on_drained: list[Callable[[], None]] = []
        """Called after each commit."""

    @property
    def is_full(self) -> bool:
        """True when tasks should wait before they write more."""
        return self.backlog > HIGH_WATER

    @property
    def is_sent(self) -> bool:
        """True when all that was appended is committed, or on its way."""
        return not self._pending

    @property
    def idle(self) -> bool:
        """True when all that was appended is committed."""
        return not self._in_flight and not self._pending

    def append(self, key: str, name: str, context: dict[str, Any]) -> None:
        """Add an event to the eventlog under key, with the present time. ValueError when JSON cannot hold it."""
        line = _line(name, context)
        self._pending.setdefault(key, []).append(line)
        self.backlog += len(line)

    def flush(self) -> None:
        """Commit what was gathered, or much of it, unless a commit is on its way: then it goes with the next."""
        if self._in_flight or self._is_held or not self._pending:
            return
        txn = KVSTxn()
        for key in list(self._pending):
            txn.append(key, self._take(key))
        self._in_flight = True
        self._commit(self._flux, txn, namespace=self._namespace).then(self._committed)

    def release_after(self, seconds: float) -> None:
        """Let what is held back wait no longer than that, unless `release` is called before."""
        if self._is_held:
            self._flux.call_later(seconds, self.release)

    def release(self) -> None:
        """Hold nothing back from now on: `flush` commits."""
        self._is_held = False

    def _take(self, key: str) -> str:
        """The oldest lines under a key."""
        lines = self._pending[key]
        count = size = 0
        while count < len(lines) and size < COMMIT_SIZE:
            size += len(lines[count])
            count += 1
        self._pending[key] = lines[count:]
        if count == len(lines):
            del self._pending[key]
        self.backlog -= size
        return "".join(lines[:count])

    def _committed(self, future: PatientCommit) -> None:
        self._in_flight = False
        try:
            future.get()
        except FluxError as exc:
            sys.stderr.write(f"flux-shell: job output or events are lost: KVS commit: {exc}\n")
        self.flush()
        for callback in self.on_drained:
            callback()
