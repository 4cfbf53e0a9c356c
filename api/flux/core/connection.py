"""The connection of a blocking handle: sending, receiving, and coming back when it is lost."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable

from flux.constants import FLUX_POLLIN
from flux.core.base import Handle
from flux.core.connect import open_socket, receive_from, resolve_uri
from flux.core.reactor import LONGEST_WAIT, Reactor
from flux.core.reconnect import WAIT_TOPIC, Comeback
from flux.core.session import lost
from flux.errors import FluxError, ProtocolError
from flux.frames import FrameDecoder, encode_pieces, without
from flux.message import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Self

    from flux.core.watchers import MessageWatcher
    from flux.rpc import RPC

__all__ = ["BlockingHandle"]

_NOWAIT = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)  # as a number: flags of an enum cost at each use


class BlockingHandle(Handle):
    """What `flux.Flux` knows of its socket.

    Args:
        url, reconnect: as for `flux.Flux`.
    """

    def __init__(self, url: str | None, reconnect: float) -> None:
        super().__init__()
        self._comeback = Comeback(reconnect)
        self.uri = resolve_uri(url)
        self._loop = self.uri.startswith("loop://")
        self._sock: socket.socket | None = None if self._loop else open_socket(self.uri)
        self._decoder = FrameDecoder()
        self._watchers: list[MessageWatcher] = []
        self._reactor: Reactor | None = None

    def close(self) -> None:
        """Close the connection; pending RPCs fail with ECONNRESET."""
        self._disconnect()
        self._comeback.patience = 0
        if self.session.error is None:
            self.session.fail(lost("the handle was closed"))

    def _disconnect(self) -> None:
        if self._sock is not None:
            if self._reactor is not None:
                self._reactor.remove_fd(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self.attr_cache.clear()

    @property
    def reconnects(self) -> int:
        """How often this handle has found its broker again."""
        return self._comeback.count

    def reconnect(self) -> None:
        """Make a new connection in place of this one (flux_reconnect(3)).

        Pending RPCs fail with ECONNRESET. Returns when the broker runs, and subscriptions and services are there again.

        Raises:
            FluxError: what opening a connection raises, or what the broker says to one of these requests; the handle
                is not connected then.
        """
        self._disconnect()
        self.session.fail(lost("the handle reconnects"))
        self._connect()

    def _connect(self) -> None:
        """Open a connection and restore what the one before had."""
        self._sock = open_socket(self.uri)
        self._decoder = FrameDecoder()
        self.session.error = None
        if self._reactor is not None:
            self._reactor.add_fd(self._sock.fileno(), FLUX_POLLIN, lambda _events: self._read())
        self._comeback.active = True
        try:
            for topic, payload in self._comeback.requests():
                self._restore(topic, payload)
            self._comeback.count += 1
        except FluxError as exc:
            self._disconnect()
            self.session.fail(exc)
            raise
        finally:
            self._comeback.active = False

    def _restore(self, topic: str, payload: Any) -> None:
        try:
            self.rpc(topic, payload).get()
        except FluxError as exc:
            if topic != WAIT_TOPIC or exc.errno != errno.ENOSYS:  # a broker may have no life cycle to wait for
                raise

    def _lose(self, error: FluxError) -> FluxError:
        """The connection is gone: pending RPCs fail, and the reactor looks for another one or ends with the error."""
        self._disconnect()
        self.session.fail(error)
        if not self._comeback.active:
            self._comeback.begin()
            if self._reactor is not None and (self._comeback.patience or self._watchers):
                self._reactor.call_soon(self._retry)
        return error

    def _retry(self) -> None:
        """Try for a connection once, from the reactor; the last time raises what is wrong."""
        if self._sock is not None:
            return
        delay = self._comeback.next_delay()
        if delay is None:
            self._give_up()
        try:
            self._connect()
        except FluxError:
            self.call_later(delay, self._retry)

    def _give_up(self) -> NoReturn:
        raise self.session.error or lost("the handle is closed")

    def _recover(self, deadline: float | None = None) -> None:
        """Have a connection again, or raise why there is none; ETIMEDOUT at the deadline."""
        while self._sock is None:
            delay = self._comeback.next_delay()
            if delay is None:
                self._give_up()
            if deadline is not None and time.monotonic() + delay > deadline:
                raise FluxError(errno.ETIMEDOUT, f"{self.uri}: no connection in time")
            time.sleep(delay)
            try:
                self._connect()
            except FluxError:
                continue  # the next attempt, or giving up, says what is wrong

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Descriptor of the connection; -1 for loop:// and closed handles."""
        return -1 if self._sock is None else self._sock.fileno()

    def send_rpc(self, rpc: RPC, payload: Any, flags: int) -> None:
        if self._sock is None and not self._loop:
            self._recover()
        super().send_rpc(rpc, payload, flags)

    def send_message(self, msg: Message) -> None:
        if self._loop:
            self.call_soon(lambda: self.session.receive(msg))
            return
        if self._sock is None:
            self._recover()
        assert self._sock is not None
        pieces: list[bytes | memoryview] = [*encode_pieces(msg)]
        try:
            sent = self._take(pieces)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            raise self._lose(self._broken(exc)) from None
        if rest := without(pieces, sent):
            self._send_rest(rest)

    def _take(self, pieces: list[bytes | memoryview]) -> int:
        """Have the socket take what it can; gives how many bytes."""
        assert self._sock is not None
        return self._sock.send(pieces[0], _NOWAIT) if len(pieces) == 1 else self._sock.sendmsg(pieces, (), _NOWAIT)

    def _send_rest(self, pieces: list[bytes | memoryview]) -> None:
        """Finish a send while taking what comes in, so that two full sockets cannot block each other."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN | select.POLLOUT)
        while pieces:
            for _fd, events in poll.poll():
                if events & (select.POLLIN | select.POLLHUP):
                    self._read()
                if self._sock is None:
                    self._give_up()
                if events & select.POLLOUT:
                    try:
                        pieces = without(pieces, self._take(pieces))
                    except OSError as exc:
                        raise self._lose(self._broken(exc)) from None

    def _broken(self, exc: OSError) -> FluxError:
        return FluxError(exc.errno or errno.EIO, f"{self.uri}: {exc.strerror}")

    def _read(self, block: bool = False) -> None:
        """Take what the socket holds and dispatch it."""
        assert self._sock is not None
        try:
            messages = receive_from(self._sock, self._decoder, 0 if block else _NOWAIT)
        except ProtocolError as exc:
            raise self._lose(exc) from None
        except FluxError as exc:
            self._lose(FluxError(exc.errno, f"{self.uri}: {exc}"))
            return
        for msg in messages:
            self.session.receive(msg)

    def wait_until(self, ready: Callable[[], bool], timeout: float = -1.0) -> None:
        """Receive until ready() is true. FluxError ETIMEDOUT after timeout seconds (negative: never)."""
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while not ready():
            if self._loop:
                self.get_reactor().run_once(0.0)
                continue
            if self._sock is None:
                self._recover(deadline)
                continue
            if deadline is not None:
                left = max(0.0, deadline - time.monotonic())
                if not select.select([self._sock], [], [], min(left, LONGEST_WAIT))[0] and left <= LONGEST_WAIT:
                    raise FluxError(errno.ETIMEDOUT, f"nothing came within {timeout:g}s")
            self._read(block=deadline is None)

    def get_reactor(self) -> Reactor:
        if self._reactor is None:
            self._reactor = Reactor()
            if self._sock is not None:
                self._reactor.add_fd(self._sock.fileno(), FLUX_POLLIN, lambda _events: self._read())
        return self._reactor
