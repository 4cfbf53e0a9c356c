"""A pseudo-terminal of a task, shared by any number of clients (protocol of the service NAME.terminus.N)."""

from __future__ import annotations

import binascii
import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Any, NamedTuple

from flux.errors import FluxError
from flux.hooks.shell import DEFERRED
from flux.message import FLAG_STREAMING, Message
from flux.stdio import decode_io, encode_io
from flux_shell.taskio import Reader, Writer

__all__ = ["Session"]

OnData = Callable[[bytes, bool], None]
_MODES = {"rw": (True, True), "ro": (True, False), "wo": (False, True)}


class _Client(NamedTuple):
    """Who is attached: its request, which it gets responses to, and what it may do."""

    request: Message
    reads: bool
    writes: bool


class Session:
    """One terminal.

    Args:
        flux: handle that clients are answered with. on_data: gets the output as well, and the end with eof.
        patient: leave output in the terminal until the first client that reads is there.

    Attributes:
        path: device that a task opens.
    """

    def __init__(self, flux: Any, on_data: OnData, patient: bool) -> None:
        self._flux = flux
        self._on_data = on_data
        self._clients: dict[str, _Client] = {}
        self._status = -1
        self._closed = False
        self._leader, self._follower = os.openpty()
        os.set_inheritable(self._leader, False)
        self.path = os.ttyname(self._follower)
        self._reader: Reader | None = None
        self._writer = Writer(flux.get_reactor(), os.dup(self._leader))
        if not patient:
            self._read()

    def _read(self) -> None:
        if self._reader is None:
            self._reader = Reader(self._flux.get_reactor(), os.dup(self._leader), self._output, lines=False)

    def drain(self) -> None:
        """Read the output, also when there is no client for it."""
        self._read()

    def discard(self) -> None:
        """Give up a terminal that no task was started on."""
        self._writer.close()
        os.close(self._leader)
        os.close(self._follower)

    @property
    def clients(self) -> int:
        """How many are attached."""
        return len(self._clients)

    def started(self) -> None:
        """The task has the terminal: once it and its children have closed it, that is the end."""
        os.close(self._follower)

    def exited(self, status: int) -> None:
        """The task has ended with a wait status, which clients are told at the end of the output."""
        self._status = status
        self._finish()

    def pause(self) -> None:
        """Read no more output for now, so that the task waits."""
        if self._reader is not None:
            self._reader.pause()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._reader is not None:
            self._reader.resume()

    # -- output

    def _output(self, data: bytes, eof: bool) -> None:
        if data:
            chunk = {"type": "data", **_encode(data)}
            for client in self._clients.values():
                if client.reads:
                    self._flux.respond(client.request, chunk)
        self._on_data(data, False)
        if eof:
            self._closed = True
            self._writer.close()
            self._finish()

    def _finish(self) -> None:
        """The terminal is closed and the task has ended: so does the session."""
        if self._closed and self._status >= 0:
            os.close(self._leader)  # not before: a task that has closed the terminal on its way out would get SIGHUP
            for sender in list(self._clients):
                self._dismiss(sender, "session exiting", self._status)
            self._on_data(b"", True)

    def _dismiss(self, sender: str, message: str, status: int) -> None:
        request = self._clients.pop(sender).request
        self._flux.respond(request, {"type": "exit", "message": message, "status": status})
        self._flux.respond_error(request, errno.ENODATA, "")

    # -- requests

    def request(self, msg: Message) -> Any:
        """Serve a request. FluxError: EEXIST for one who attaches twice, ENOENT for one who has not, ENOSYS, EPROTO."""
        payload = msg.payload or {}
        kind = payload.get("type")
        if kind == "attach":
            return self._attach(msg, payload)
        client = self._clients.get(msg.sender)
        if client is None:
            raise FluxError(errno.ENOENT, "attach to the terminal first")
        if kind == "data":
            if client.writes:
                self._writer.write(_decode(payload))
        elif kind == "resize":
            self._resize(payload)
        elif kind == "detach":
            self._dismiss(msg.sender, "Client requested detach", 0)
        else:
            raise FluxError(errno.ENOSYS, f"a terminal knows attach, data, resize and detach, not {kind!r}")
        return None

    def _attach(self, msg: Message, payload: dict[str, Any]) -> Any:
        if msg.sender in self._clients:
            raise FluxError(errno.EEXIST, "attached already")
        if payload.get("mode") not in _MODES or not msg.flags & FLAG_STREAMING:
            raise FluxError(errno.EPROTO, "attach is a streaming request with mode rw, ro or wo")
        if self._closed:
            raise FluxError(errno.ENOENT, "the terminal is closed")
        client = _Client(msg, *_MODES[payload["mode"]])
        if client.reads and client.writes:
            self._resize(payload)
        self._clients[msg.sender] = client
        self._flux.respond(msg, {"type": "attach"})
        if client.reads:
            self._read()
        return DEFERRED

    def _resize(self, payload: dict[str, Any]) -> None:
        size = payload["winsize"]
        packed = struct.pack("HHHH", int(size["rows"]), int(size["cols"]), 0, 0)
        fcntl.ioctl(self._leader, termios.TIOCSWINSZ, packed)

    def disconnect(self, sender: str) -> None:
        """A client is gone."""
        self._clients.pop(sender, None)


def _encode(data: bytes) -> dict[str, Any]:
    obj = encode_io("", "", data)
    return {key: obj[key] for key in ("data", "encoding") if key in obj}


def _decode(payload: dict[str, Any]) -> bytes:
    try:
        return decode_io({"stream": "", "rank": "", **payload}).data
    except binascii.Error as exc:
        raise FluxError(errno.EPROTO, f"terminal data: {exc}") from None
