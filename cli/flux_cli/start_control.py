"""The control socket of `flux start -s N`: start.status, start.kill, start.wait, start.run (FLUX_START_URI).

Clients connect as to a broker's local connector. There is no broker here: requests come in without a route, and are
answered in the loop that waits for the brokers.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec

from flux.errors import FluxError, as_flux_error
from flux.frames import FrameDecoder, encode_frame
from flux.message import FLAG_NORESPONSE, REQUEST, Message
from flux_cli.local_socket import admit

__all__ = ["Brokers", "ControlSocket"]


class RankRequest(msgspec.Struct):
    rank: int


class KillRequest(msgspec.Struct):
    rank: int
    signum: int


class Brokers(Protocol):
    """What the control socket needs of the launcher; a wrong rank or state is a FluxError."""

    def watch(self, fd: int, callback: Callable[[], None] | None) -> None:
        """Call back when the descriptor can be read; None: no more."""

    def status(self) -> list[int]:
        """The process id of each broker, -1 where none runs."""

    def kill(self, rank: int, signum: int) -> None: ...

    def start(self, rank: int) -> None: ...

    def when_ended(self, rank: int, callback: Callable[[int], None]) -> None:
        """Call back with the exit code, at once when the broker has ended already."""


class ControlSocket:
    """Listens at a path; only for the user who started the instance."""

    def __init__(self, path: str, brokers: Brokers) -> None:
        self.path = path
        self._brokers = brokers
        self._clients: dict[socket.socket, FrameDecoder] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(umask)
        self._listener.listen()
        brokers.watch(self._listener.fileno(), self._accept)

    def close_in_child(self) -> None:
        """A forked broker has no use for these descriptors; the socket itself stays."""
        for sock in (self._listener, *self._clients):
            sock.close()

    def close(self) -> None:
        for sock in [*self._clients]:
            self._drop(sock)
        self._brokers.watch(self._listener.fileno(), None)
        self._listener.close()
        os.unlink(self.path)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        if admit(sock):
            self._clients[sock] = FrameDecoder()
            self._brokers.watch(sock.fileno(), partial(self._receive, sock))

    def _receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            messages = self._clients[sock].feed(data)
        except (ConnectionError, FluxError):
            data = b""
        if not data:
            self._drop(sock)
            return
        for msg in messages:
            if msg.type == REQUEST:
                self._request(sock, msg)

    def _drop(self, sock: socket.socket) -> None:
        if self._clients.pop(sock, None) is not None:
            self._brokers.watch(sock.fileno(), None)
            sock.close()

    def _request(self, sock: socket.socket, msg: Message) -> None:
        try:
            answer = self._perform(sock, msg)
        except OSError as exc:
            error = as_flux_error(exc)
            self._send(sock, msg, str(error), error.errno or errno.EIO)
            return
        if answer is not None:
            self._send(sock, msg, answer)

    def _perform(self, sock: socket.socket, msg: Message) -> dict[str, Any] | None:
        """Gives the answer, None when it comes later."""
        if msg.topic == "start.status":
            return {"procs": [{"pid": pid} for pid in self._brokers.status()]}
        if msg.topic == "start.kill":
            kill = msg.decode(KillRequest)
            self._brokers.kill(kill.rank, kill.signum)
            return {}
        if msg.topic == "start.run":
            self._brokers.start(msg.decode(RankRequest).rank)
            return {}
        if msg.topic == "start.wait":
            rank = msg.decode(RankRequest).rank
            self._brokers.when_ended(rank, lambda code: self._send(sock, msg, {"exit_rc": code}))
            return None
        raise FluxError(errno.ENOSYS, f"{msg.topic}: this service has start.status, start.kill, start.run, start.wait")

    def _send(self, sock: socket.socket, request: Message, payload: Any, errnum: int = 0) -> None:
        if request.flags & FLAG_NORESPONSE or sock not in self._clients:
            return
        try:
            sock.sendall(encode_frame(request.respond(payload or None, errnum=errnum)))
        except ConnectionError:
            self._drop(sock)
