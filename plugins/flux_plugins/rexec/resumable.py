"""A streaming exec request whose client may take it up again after the way between them broke (`rexec.resume`).

An extension of RFC 42. The server cannot know what was lost on the way, so it keeps what the client has not said to
have taken, and the client says how many output responses it has got.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.errors import FluxError
from flux.message import Message
from flux_plugins.rexec.process import Process
from flux_plugins.rexec.replies import Foreground

if TYPE_CHECKING:
    from flux_plugins.rexec.module import Rexec
    from flux_plugins.rexec.protocol import ExecRequest

__all__ = ["Resumable", "Resumables"]

ENDED_KEPT = 128
"""Processes that have ended, of which the last response may yet be asked for again."""


class _Output(NamedTuple):
    stream: str
    data: bytes
    eof: bool


class Resumable(Foreground):
    """Listener of an exec request with `resumable`: at most `window` bytes of output are kept.

    Args:
        req: with the name, and the heir, who may take it up when the client is gone; the process lives on till then.
    """

    def __init__(self, server: Rexec, msg: Message, req: ExecRequest) -> None:
        super().__init__(server, msg, req.flags, req.output_window)
        self.key = (req.heir or self.sender, req.resumable)
        self._heir = req.heir
        self._quiet = req.quiet
        self._orphan = False
        self._kept: deque[_Output] = deque()
        self._sent = self._credit = self._pid = 0
        self._status: int | None = None
        self._error: FluxError | None = None

    def on_started(self, process: Process) -> None:
        self._pid = process.pid
        super().on_started(process)

    def on_failed(self, process: Process, error: FluxError) -> None:
        self._server.resumables.discard(self)
        super().on_failed(process, error)

    def on_output(self, process: Process, stream: str, data: bytes, eof: bool) -> None:
        if self._quiet and not data:
            return
        self._kept.append(_Output(stream, data, eof))
        self._sent += 1
        super().on_output(process, stream, data, eof)

    def taken(self, process: Process, count: int) -> None:
        self._credit += count
        while self._kept and 0 < self._credit >= len(self._kept[0].data):
            self._credit -= len(self._kept.popleft().data)
        super().taken(process, count)

    def on_finished(self, process: Process) -> None:
        self._status = process.status
        super().on_finished(process)

    def _end(self, error: FluxError) -> None:
        if self.ended:
            return
        self._error = error
        if self._orphan:
            self.ended = True
        else:
            super()._end(error)
        # the request has an environment in it, and is of no use until `resume` brings another one
        self._msg = Message(self._msg.type, self._msg.topic)
        self._server.resumables.ended(self)

    def disconnected(self, process: Process) -> None:
        if self._heir:
            self._orphan = True
        else:
            super().disconnected(process)

    def _respond(self, payload: dict[str, Any]) -> None:
        if not self._orphan:
            super()._respond(payload)

    def resume(self, msg: Message, received: int, process: Process | None) -> None:
        """Answer another request from now on, beginning with the output after the first `received` responses.

        Args:
            process: None when it is over.
        """
        self._msg, self.sender, self.matchtag = msg, msg.sender, msg.matchtag
        self.ended = self._orphan = False
        before = self._sent - len(self._kept)
        if self._pid:
            self._respond({"type": "started", "pid": self._pid, "output_window": self._window, "sent": before})
        for _ in range(min(received - before, len(self._kept))):
            self._kept.popleft()
        self._credit = 0
        self._underway = sum(len(output.data) for output in self._kept)
        for output in self._kept:
            self._respond_output(self._pid, *output)
        if self._status is not None:
            self._respond({"type": "finished", "status": self._status})
        if self._error is not None:
            self._server.respond_error(msg, self._error)
            self.ended = True
        elif process is not None:
            self._go_on(process)


class Resumables:
    """The resumable requests of a server by client and name; those that are over too, if they are not long over."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Resumable] = {}
        self._over: deque[Resumable] = deque()

    def add(self, listener: Resumable) -> None:
        """FluxError EEXIST when its client has another one of that name."""
        if listener.key in self._by_key:
            raise FluxError(errno.EEXIST, f"this client has a resumable process {listener.key[1]} already")
        self._by_key[listener.key] = listener

    def find(self, sender: str, name: str) -> Resumable:
        """FluxError ENOENT."""
        listener = self._by_key.get((sender, name))
        if listener is None:
            raise FluxError(errno.ENOENT, f"this client has no resumable process {name}")
        return listener

    def discard(self, listener: Resumable) -> None:
        if self._by_key.get(listener.key) is listener:
            del self._by_key[listener.key]

    def ended(self, listener: Resumable) -> None:
        """It is over; it may be asked for again until enough others are over too."""
        self._over.append(listener)
        if len(self._over) > ENDED_KEPT:
            self.discard(self._over.popleft())

    def drop_sender(self, sender: str) -> None:
        """A client is gone."""
        for key in [key for key in self._by_key if key[0] == sender]:
            del self._by_key[key]
        self._over = deque(listener for listener in self._over if listener.sender != sender)
