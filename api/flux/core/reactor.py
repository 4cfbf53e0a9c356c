"""The reactor of blocking programs: file descriptors, timers, callbacks (flux_reactor_create(3)).

It runs while something keeps it alive (a started watcher, a future with a callback) or until it is stopped.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import select
import time
from collections import deque
from collections.abc import Callable

from flux.constants import FLUX_POLLERR, FLUX_POLLIN, FLUX_POLLOUT, FLUX_REACTOR_NOWAIT, FLUX_REACTOR_ONCE
from flux.errors import FluxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LONGEST_WAIT", "Reactor", "Timer"]

LONGEST_WAIT = 86400.0
"""Seconds that the kernel is asked to wait at a time: it takes neither "inf" nor a million years."""


class Timer:
    """A callback due at a time, once or repeatedly."""

    __slots__ = ("active", "callback", "due", "repeat")

    def __init__(self, due: float, callback: Callable[[], Any], repeat: float) -> None:
        self.due = due
        self.callback = callback
        self.repeat = repeat
        self.active = True

    def cancel(self) -> None:
        self.active = False


class Reactor:
    """An event loop over epoll.

    Args:
        clock: gives the time in seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._epoll = select.epoll()
        self._fds: dict[int, Callable[[int], Any]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], Any]] = deque()
        self._phases: dict[str, list[Callable[[], Any]]] = {}
        self._refs = 0
        self._stopped = False
        self._failed = False
        self.running = False

    def add_fd(self, fd: int, events: int, callback: Callable[[int], Any]) -> None:
        """Call callback(events) while fd has one of events (FLUX_POLLIN, FLUX_POLLOUT, FLUX_POLLERR)."""
        self._epoll.register(fd, _to_epoll(events))
        self._fds[fd] = callback

    def remove_fd(self, fd: int) -> None:
        if self._fds.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay: float, callback: Callable[[], Any], repeat: float = 0.0) -> Timer:
        """Run callback in delay seconds, then every repeat seconds when that is above 0."""
        timer = Timer(self.clock() + delay, callback, repeat)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self._soon.append(callback)

    def incref(self) -> None:
        self._refs += 1

    def decref(self) -> None:
        self._refs -= 1

    def stop(self) -> None:
        """Let `run` return after the current callback."""
        self._stopped = True

    def stop_error(self) -> None:
        """As `stop`, and `run` raises."""
        self._stopped = self._failed = True

    def run(self, flags: int = 0) -> int:
        """Run until stopped or until nothing keeps the reactor alive; gives the number of references left.

        Args:
            flags: FLUX_REACTOR_NOWAIT for one turn that does not wait, FLUX_REACTOR_ONCE for one turn, which waits
                where something keeps the reactor alive.

        Raises:
            FluxError: ECANCELED after `stop_error`; whatever a callback raises.
        """
        self._stopped = self._failed = False
        self.running = True
        try:
            if flags & (FLUX_REACTOR_NOWAIT | FLUX_REACTOR_ONCE):
                self.run_once(0.0 if flags & FLUX_REACTOR_NOWAIT or self._refs <= 0 else -1.0)
            else:
                while not self._stopped and (self._refs > 0 or self._soon):
                    self.run_once()
        finally:
            self.running = False
        if self._failed:
            raise FluxError(errno.ECANCELED, "the reactor was stopped by an error")
        return self._refs

    def run_once(self, timeout: float = -1.0) -> None:
        """Wait for something to do, at most timeout seconds (negative: any time), and do it."""
        if self._phases:
            self._run_phase("prepare")
        ready = self._epoll.poll(self._wait_time(timeout))
        if self._phases:
            self._run_phase("check")
        for fd, events in ready:
            callback = self._fds.get(fd)
            if callback is not None:
                callback(_READY[events])
        self._run_timers()
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        if self._phases:
            self._run_phase("idle")

    def add_phase(self, name: str, callback: Callable[[], Any]) -> None:
        """Call back in each turn: "prepare" before it waits, "check" after that, "idle" at its end, without waiting."""
        self._phases.setdefault(name, []).append(callback)

    def remove_phase(self, name: str, callback: Callable[[], Any]) -> None:
        """Undo `add_phase`."""
        self._phases[name].remove(callback)
        if not self._phases[name]:
            del self._phases[name]

    def _run_phase(self, name: str) -> None:
        for callback in tuple(self._phases.get(name, ())):
            callback()

    def _wait_time(self, timeout: float) -> float:
        if self._soon or "idle" in self._phases:
            return 0.0
        while self._timers and not self._timers[0][2].active:
            heapq.heappop(self._timers)
        if not self._timers:
            return min(timeout, LONGEST_WAIT) if timeout >= 0 else -1
        due = min(max(0.0, self._timers[0][0] - self.clock()), LONGEST_WAIT)
        return min(due, timeout) if timeout >= 0 else due

    def _run_timers(self) -> None:
        now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.active:
                continue
            if timer.repeat > 0:
                timer.due = max(now, timer.due + timer.repeat)
                heapq.heappush(self._timers, (timer.due, next(self._order), timer))
            else:
                timer.active = False
            timer.callback()

    def close(self) -> None:
        self._epoll.close()


def _to_epoll(events: int) -> int:
    mask = 0
    if events & FLUX_POLLIN:
        mask |= select.EPOLLIN
    if events & FLUX_POLLOUT:
        mask |= select.EPOLLOUT
    return mask


def _from_epoll(events: int) -> int:
    mask = 0
    if events & (select.EPOLLIN | select.EPOLLHUP):
        mask |= FLUX_POLLIN
    if events & select.EPOLLOUT:
        mask |= FLUX_POLLOUT
    if events & select.EPOLLERR:
        mask |= FLUX_POLLERR
    return mask


_READY = tuple(_from_epoll(events) for events in range(2 * select.EPOLLHUP))
"""What each answer of epoll stands for: looked up for every event there is."""
