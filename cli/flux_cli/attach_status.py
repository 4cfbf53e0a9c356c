"""The status line of a job that is waited for (flux-job(1) attach --show-status)."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.event import EventLogEvent

__all__ = ["StatusLine", "is_wanted"]

_AFTER = {
    "submit": "submitted",
    "validate": "resolving dependencies",
    "depend": "waiting for priority assignment",
    "priority": "waiting for resources",
    "alloc": "starting",
    "prolog-start": "waiting for the prolog",
    "prolog-finish": "starting",
}
"""What a job does after an event."""
_PATIENCE = 2.0
"""Seconds that a job may be pending before the line is shown, unless it was asked for."""


def is_wanted() -> bool:
    """True when somebody looks at all of this process's input and output."""
    return "FLUX_ATTACH_NONINTERACTIVE" not in os.environ and all(os.isatty(fd) for fd in (0, 1, 2))


class StatusLine:
    """A line on stderr that is written over while the job is pending.

    Args:
        handle: its reactor updates the line each second.
        jobid: what the line begins with. at_once: do not wait whether the job starts soon.
    """

    def __init__(self, handle: Flux, jobid: Any, at_once: bool) -> None:
        self._handle = handle
        self._reactor = handle.get_reactor()
        self._jobid = jobid
        self._at_once = at_once
        self._since = self._reactor.clock()
        self._text = ""
        self._shown = False
        self._timer: Any = None

    def on_event(self, event: EventLogEvent) -> None:
        """Take an event of the job's eventlog."""
        if event.name in ("start", "exception", "clean"):
            self.close()
        elif event.name in _AFTER:
            self._text = _AFTER[event.name]
            self._show()

    def _show(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._handle.timer_watcher_create(1.0, lambda *_: self._show())
        self._timer.start()
        seconds = int(self._reactor.clock() - self._since)
        if self._at_once or seconds >= _PATIENCE:
            self._shown = True
            clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
            self._write(f"flux-job: {self._jobid} {self._text:<50}{clock}\r")

    def clear(self) -> None:
        """Make room for other output."""
        if self._shown:
            self._shown = False
            self._write("\r\033[K")

    def close(self) -> None:
        """The job is not pending any more, or nobody is interested."""
        self.clear()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
