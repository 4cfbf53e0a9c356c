"""Signals sent to the shell, delivered as callbacks from its reactor."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable
from types import FrameType

from flux.constants import FLUX_POLLIN
from flux.core.reactor import Reactor

__all__ = ["SignalPipe"]


class SignalPipe:
    """Calls back from the reactor for each signal of a set.

    Args:
        signums: signals to take. callback: called with the number.
    """

    def __init__(self, reactor: Reactor, signums: tuple[int, ...], callback: Callable[[int], None]) -> None:
        self._reactor = reactor
        self._callback = callback
        self._seen: deque[int] = deque()
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        reactor.add_fd(self._read, FLUX_POLLIN, self._ready)
        self._previous = {signum: signal.signal(signum, self._caught) for signum in signums}

    def _caught(self, signum: int, _frame: FrameType | None) -> None:
        self._seen.append(signum)
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            return  # the pipe is full of wake-ups already

    def _ready(self, _events: int) -> None:
        os.read(self._read, 4096)
        while self._seen:
            self._callback(self._seen.popleft())

    def close(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._reactor.remove_fd(self._read)
        os.close(self._read)
        os.close(self._write)
