"""Messages over a connected stream socket on the asyncio loop (RFC 3 framing): bounded, never blocking."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from flux.core.session import lost
from flux.errors import FluxError, ProtocolError
from flux.message import EVENT, MAX_MESSAGE, FrameDecoder, Message, encode_frame

__all__ = ["SocketChannel", "SocketLink"]

_READ_SIZE = 65536  # below the size from which malloc maps and unmaps memory for each read
SOFT_LIMIT = 4 << 20
HARD_LIMIT = 256 << 20
EVENT_LIMIT = 16 << 20
LOST_EVENTS = "event.lost"
"""Topic of the event that stands for those which a subscriber was too slow for: {first, last, count}."""


class SocketChannel:
    """A stream of messages, each way.

    What the other end does not read is queued. Above `SOFT_LIMIT` bytes nothing more is read from it, so that a
    client which does not take its answers cannot ask for more; above `HARD_LIMIT` the connection is dropped.

    Args:
        receive: called with each message, in order.
        on_lost: called once with the error when the other end is gone, speaks nonsense or does not read.
        max_message: largest frame accepted, in bytes.
    """

    def __init__(
        self,
        sock: socket.socket,
        receive: Callable[[Message], None],
        on_lost: Callable[[FluxError], None],
        max_message: int = MAX_MESSAGE,
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self.receive = receive
        self._on_lost = on_lost
        self._decoder = FrameDecoder(max_message)
        self._chunks: list[bytes] = []
        self._rest = memoryview(b"")  # of what is being sent: a large message is not copied for each part that leaves
        self._queued = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._readable)
        self._flush_due = False
        self._blocked = False
        self._reading = True
        self._on_drained: list[Callable[[], object]] = []
        self.closed = False

    def send(self, msg: Message) -> None:
        """Queue a message; everything queued in one turn of the loop leaves in one write."""
        if self.closed:
            return
        data = encode_frame(msg)
        self._chunks.append(data)
        self._queued += len(data)
        if not self._flush_due and not self._blocked:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        elif self._queued > SOFT_LIMIT:
            self._limit()

    def _limit(self) -> None:
        if self._queued > HARD_LIMIT:
            text = f"{self._queued} bytes wait for a peer that does not read: dropped"
            self._loop.call_soon(self._fail, FluxError(errno.EOVERFLOW, text))
        elif self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def _flush(self) -> None:
        self._flush_due = False
        if self.closed or not self._queued:
            return
        if not self._rest:
            self._rest = memoryview(self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks))
            self._chunks.clear()
        try:
            sent = self._sock.send(self._rest, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._fail(FluxError(exc.errno or errno.EIO, exc.strerror or ""))
            return
        self._queued -= sent
        self._rest = self._rest[sent:]
        if self._queued:
            self._block()
        else:
            self._unblock()

    def _block(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._fd, self._flush)
        if self._queued > SOFT_LIMIT:
            self._limit()

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._fd)
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._readable)
        self._drained()

    def when_drained(self, callback: Callable[[], object]) -> None:
        """Call back once everything queued has been taken, or the connection is closed."""
        if self.closed or not self._queued:
            self._loop.call_soon(callback)
        else:
            self._on_drained.append(callback)

    def _drained(self) -> None:
        if self._on_drained:
            callbacks, self._on_drained = self._on_drained, []
            for callback in callbacks:
                self._loop.call_soon(callback)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            self._fail(FluxError(exc.errno or errno.EIO, exc.strerror or ""))
            return
        if not data:
            self._fail(lost("the other side closed the connection"))
            return
        try:
            messages = self._decoder.feed(data)
        except ProtocolError as exc:
            self._fail(exc)
            return
        for msg in messages:
            self.receive(msg)

    def _fail(self, error: FluxError) -> None:
        if not self.closed:
            self.close()
            self._on_lost(error)

    def close(self) -> None:
        """Send what can be sent at once and close the socket."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._queued:
            try:
                self._sock.send(b"".join([self._rest, *self._chunks]), socket.MSG_NOSIGNAL)
            except OSError:
                self._chunks.clear()
        self._sock.close()
        self._drained()

    @property
    def queued(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._queued


class SocketLink:
    """A `flux.hooks.kernel.Link` over a stream socket: a client connection or an isolated module.

    Events are skipped from when more than `EVENT_LIMIT` bytes are queued until the queue is empty. Then the other end
    gets one event `LOST_EVENTS` with the sequence numbers of the first and the last that it missed, and their count.

    Args:
        deliver: called with each message and this link; the switch's `receive`.
        on_lost: called once with this link and the error that ended it.
    """

    def __init__(
        self,
        uuid: str,
        userid: int,
        rolemask: int,
        owner: bool,
        sock: socket.socket,
        deliver: Callable[[Message, SocketLink], None],
        on_lost: Callable[[SocketLink, FluxError], None],
    ) -> None:
        self.uuid = uuid
        self.userid = userid
        self.rolemask = rolemask
        self.owner = owner
        self.channel = SocketChannel(sock, lambda msg: deliver(msg, self), lambda error: on_lost(self, error))
        self.when_drained = self.channel.when_drained
        self._lost: dict[str, int] | None = None

    def send(self, msg: Message) -> None:
        if msg.type == EVENT and (self._lost is not None or self.channel.queued > EVENT_LIMIT):
            self._skip(msg.aux)
        else:
            self.channel.send(msg)

    def _skip(self, sequence: int) -> None:
        if self._lost is None:
            self._lost = {"first": sequence, "last": sequence, "count": 0}
            self.when_drained(self._tell_lost)
        self._lost["last"] = sequence
        self._lost["count"] += 1

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, None
        assert lost is not None
        self.channel.send(Message(EVENT, LOST_EVENTS, lost, aux=lost["last"]))

    @property
    def queued(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self.channel.queued

    def close(self) -> None:
        self.channel.close()
