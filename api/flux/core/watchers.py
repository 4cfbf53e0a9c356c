"""Watchers: timers, file descriptors, signals and messages as start/stop objects (flux.core.watchers).

A watcher keeps its reactor running while it is started.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from fnmatch import fnmatchcase

from flux.constants import FLUX_POLLIN
from flux.core.reactor import Timer
from flux.message import REQUEST, RESPONSE, ROLE_OWNER, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from flux.core.handle import Flux
    from flux.core.reactor import Reactor

__all__ = ["FDWatcher", "MessageWatcher", "SignalWatcher", "TimerWatcher", "Watcher"]


class Watcher(ABC):
    """Base: calls callback(handle, watcher, ..., args) from the reactor, between start and stop."""

    def __init__(self, flux_handle: Flux, callback: Callable[..., Any], args: Any = None) -> None:
        self.flux_handle = flux_handle
        self.callback = callback
        self.args = args
        self.active = False
        self._counts = True

    @property
    def reactor(self) -> Reactor:
        return self.flux_handle.get_reactor()

    def start(self) -> Self:
        if not self.active:
            self.active = True
            if self._counts:
                self.reactor.incref()
            self._start()
        return self

    def stop(self) -> Self:
        if self.active:
            self.active = False
            if self._counts:
                self.reactor.decref()
            self._stop()
        return self

    def unref(self) -> Self:
        """Let the reactor end while this watcher is started."""
        if self._counts and self.active:
            self.reactor.decref()
        self._counts = False
        return self

    def ref(self) -> Self:
        """Undo unref()."""
        if not self._counts and self.active:
            self.reactor.incref()
        self._counts = True
        return self

    def destroy(self) -> None:
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @abstractmethod
    def _start(self) -> None:
        """Begin to watch."""

    @abstractmethod
    def _stop(self) -> None:
        """Undo `_start`."""


class TimerWatcher(Watcher):
    """Fire after some seconds, then every repeat seconds when that is above 0."""

    def __init__(
        self,
        flux_handle: Flux,
        after: float,
        callback: Callable[..., Any],
        repeat: float = 0.0,
        args: Any = None,
    ) -> None:
        if after < 0 or repeat < 0:
            raise ValueError("after and repeat are seconds, 0 or more")
        super().__init__(flux_handle, callback, args)
        self.after = after
        self.repeat = repeat
        self._timer: Timer | None = None

    def _start(self) -> None:
        self._timer = self.reactor.call_later(self.after, self._fire, self.repeat)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def reset(self, after: float | None = None, repeat: float | None = None) -> None:
        """Start it anew, with other times where they are given."""
        self.stop()
        self.after = self.after if after is None else after
        self.repeat = self.repeat if repeat is None else repeat
        self.start()

    def _fire(self) -> None:
        if not self.repeat:
            self.stop()
        self.callback(self.flux_handle, self, 0, self.args)


class FDWatcher(Watcher):
    """Fire callback(handle, watcher, fd, events, args) while a descriptor is ready.

    events: a mask of FLUX_POLLIN, FLUX_POLLOUT, FLUX_POLLERR.
    """

    def __init__(
        self,
        flux_handle: Flux,
        fd_int: int,
        events: int | None,
        callback: Callable[..., Any],
        args: Any = None,
    ) -> None:
        super().__init__(flux_handle, callback, args)
        self.fd = fd_int
        self.events = FLUX_POLLIN if events is None else events

    def _start(self) -> None:
        self.reactor.add_fd(self.fd, self.events, self._fire)

    def _stop(self) -> None:
        self.reactor.remove_fd(self.fd)

    def _fire(self, events: int) -> None:
        self.callback(self.flux_handle, self, self.fd, events, self.args)


class SignalWatcher(Watcher):
    """Fire from the reactor for each time that a signal arrives; only in the main thread."""

    def __init__(self, flux_handle: Flux, signal_int: int, callback: Callable[..., Any], args: Any = None) -> None:
        super().__init__(flux_handle, callback, args)
        self.signum = signal_int
        self._previous: Any = None
        self._pipe: tuple[int, int] | None = None

    def _start(self) -> None:
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pipe = (read, write)
        self._previous = signal.signal(self.signum, lambda *_: os.write(write, b"\0"))
        self.reactor.add_fd(read, FLUX_POLLIN, self._fire)

    def _stop(self) -> None:
        assert self._pipe is not None
        signal.signal(self.signum, self._previous)
        self.reactor.remove_fd(self._pipe[0])
        for fd in self._pipe:
            os.close(fd)
        self._pipe = None

    def _fire(self, _events: int) -> None:
        assert self._pipe is not None
        for _ in os.read(self._pipe[0], 4096):
            if self.active:
                self.callback(self.flux_handle, self, self.signum, self.args)


class MessageWatcher(Watcher):
    """Fire for each message of the given types whose topic matches a glob."""

    def __init__(
        self,
        flux_handle: Flux,
        type_mask: int,
        callback: Callable[..., Any],
        topic_glob: str = "*",
        match_tag: int = 0,
        args: Any = None,
        rolemask: int | None = None,
    ) -> None:
        super().__init__(flux_handle, callback, args)
        self.type_mask = type_mask
        self.topic_glob = topic_glob
        self.match_tag = match_tag
        self.rolemask = ROLE_OWNER | (rolemask or 0)

    def matches(self, msg: Message) -> bool:
        if not msg.type & self.type_mask:
            return False
        if msg.type == RESPONSE and self.match_tag:
            return msg.matchtag == self.match_tag
        return fnmatchcase(msg.topic, self.topic_glob)

    def _start(self) -> None:
        self.flux_handle.add_message_watcher(self)

    def _stop(self) -> None:
        self.flux_handle.remove_message_watcher(self)

    def lets_in(self, msg: Message) -> bool:
        """True when the sender of a request has a role that may send it (RFC 12)."""
        return msg.type != REQUEST or bool(msg.rolemask & self.rolemask)

    def fire(self, msg: Message) -> None:
        self.callback(self.flux_handle, self, msg, self.args)


def __getattr__(name: str) -> Any:
    if name in ("CheckWatcher", "IdleWatcher", "PrepareWatcher"):
        from flux.core import loop_watchers

        return getattr(loop_watchers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
