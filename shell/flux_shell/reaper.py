"""The end of tasks, noticed by the shell's reactor."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from flux.constants import FLUX_POLLIN
from flux.core.reactor import Reactor
from flux_shell.signals import SignalPipe

if TYPE_CHECKING:
    from flux_shell.task import Task

__all__ = ["Reaper"]

_MOST_DESCRIPTORS = 32
"""Tasks that have a descriptor each for their end; of a thousand, four of them would be too many for the usual limit
of open files, so that the others are looked for when a SIGCHLD has come."""
_INTERVAL = 0.05
"""Seconds between two looks where there is no descriptor left to learn of a SIGCHLD by."""


class Reaper:
    """Waits for tasks.

    Args:
        on_end: called with a task that has ended, and its wait status.
    """

    def __init__(self, reactor: Reactor, on_end: Callable[[Task, int], None]) -> None:
        self._reactor = reactor
        self._on_end = on_end
        self._watched: set[Task] = set()
        self._looked_for: list[Task] = []
        self._signals: SignalPipe | None = None
        self._due = self._is_blind = False

    def watch(self, task: Task) -> None:
        """Wait for a task that runs, unless it is waited for already."""
        if task in self._watched:
            return
        self._watched.add(task)
        try:
            if len(self._watched) <= _MOST_DESCRIPTORS:
                pidfd = os.pidfd_open(task.pid)
                self._reactor.add_fd(pidfd, FLUX_POLLIN, lambda _events: self._ended(task, pidfd))
                return
            if self._signals is None:
                self._signals = SignalPipe(self._reactor, (signal.SIGCHLD,), lambda _signum: self._plan())
        except OSError as exc:
            if exc.errno != errno.EMFILE:
                raise
            self._is_blind = self._signals is None
        self._looked_for.append(task)
        self._plan()  # it may have ended before the signal was waited for

    def _ended(self, task: Task, pidfd: int) -> None:
        self._reactor.remove_fd(pidfd)
        os.close(pidfd)
        self._on_end(task, os.waitpid(task.pid, 0)[1])

    def _plan(self) -> None:
        if not self._due:
            self._due = True
            self._reactor.call_soon(self._look)

    def _look(self) -> None:
        self._due = False
        left, ended = [], []
        for task in self._looked_for:
            pid, status = os.waitpid(task.pid, os.WNOHANG)
            if pid:
                ended.append((task, status))
            else:
                left.append(task)
        self._looked_for = left
        if left and self._is_blind:
            self._reactor.call_later(_INTERVAL, self._plan)
        for task, status in ended:
            self._on_end(task, status)

    def close(self) -> None:
        """Give back what it took; every task has ended."""
        if self._signals is not None:
            self._signals.close()
            self._signals = None
