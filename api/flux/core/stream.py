"""Messages over a connected stream socket on the asyncio loop (RFC 3 framing): bounded, never blocking."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable

from flux.core.connect import receive_from, widen
from flux.errors import FluxError
from flux.frames import LARGE, MAX_MESSAGE, FrameDecoder, encode_frame, encode_pieces, without
from flux.message import EVENT, Message

__all__ = ["Behind", "SocketChannel", "SocketLink"]

_NOSIGNAL = int(socket.MSG_NOSIGNAL)  # as a number: flags of an enum cost at each use
_PIECES = 64  # in one call: the system takes 1024 at most
SOFT_LIMIT = 4 << 20
HARD_LIMIT = 256 << 20
EVENT_LIMIT = 16 << 20
LOST_EVENTS = "event.lost"
"""Topic of the event that stands for those which a subscriber was too slow for: {first, last, count}."""
MAX_BEHIND = 1024
"""Clients behind one connection that may be told of as held at a time."""
MAX_WAY = 1024
"""Characters of the ids on the way to one of them, taken together."""


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
        widen(sock)
        self._sock = sock
        self._fd = sock.fileno()
        self.receive = receive
        self._on_lost = on_lost
        self._decoder = FrameDecoder(max_message)
        self._small: list[bytes] = []  # frames that leave together, in one piece
        self._pieces: list[bytes | memoryview] = []  # what goes before them; a large payload is one, and not copied
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
        raw = msg.raw
        if raw is None or len(raw) < LARGE:
            data = encode_frame(msg)
            self._small.append(data)
            self._queued += len(data)
        else:
            self._send_large(msg)
        if not self._flush_due and not self._blocked:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        elif self._queued > SOFT_LIMIT:
            self._limit()

    def _send_large(self, msg: Message) -> None:
        head, payload, tail = encode_pieces(msg)
        self._small.append(head)
        self._join()
        self._pieces.append(payload)
        self._small.append(tail)
        self._queued += len(head) + len(payload) + len(tail)

    def _join(self) -> None:
        if self._small:
            self._pieces.append(self._small[0] if len(self._small) == 1 else b"".join(self._small))
            self._small.clear()

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
        self._join()
        try:
            sent = self._take()
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._fail(FluxError(exc.errno or errno.EIO, exc.strerror or ""))
            return
        self._queued -= sent
        self._pieces = without(self._pieces, sent)
        if self._queued:
            self._block()
        else:
            self._unblock()

    def _take(self) -> int:
        """Have the socket take what it can; gives how many bytes."""
        if len(self._pieces) == 1:
            return self._sock.send(self._pieces[0], _NOSIGNAL)
        return self._sock.sendmsg(self._pieces[:_PIECES], (), _NOSIGNAL)

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
            messages = receive_from(self._sock, self._decoder)
        except FluxError as exc:
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
            self._join()
            with contextlib.suppress(OSError):
                self._take()
        self._sock.close()
        self._drained()

    @property
    def queued(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._queued


class Behind:
    """A client behind another (`flux proxy`) that does not take what it is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._on_drained: list[Callable[[], object]] = []

    def when_drained(self, callback: Callable[[], object]) -> None:
        """Call back once it takes more, or is gone."""
        self._on_drained.append(callback)

    def release(self) -> None:
        for callback in self._on_drained:
            self._loop.call_soon(callback)


class SocketLink:
    """A `flux.hooks.kernel.Link` over a stream socket: a client connection or an isolated module.

    Events are skipped from when more than `EVENT_LIMIT` bytes are queued until the queue is empty. Then the other end
    gets one event `LOST_EVENTS` with the sequence numbers of the first and the last that it missed, and their count.

    Args:
        deliver: called with each message and this link; the switch's `receive`.
        on_lost: called once with this link and the error that ended it.

    Attributes:
        behind: clients behind this one that do not take what they are sent, by their way to it: ids of senders.
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
        self.behind: dict[tuple[str, ...], Behind] = {}
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

    def hold(self, way: tuple[str, ...], is_held: bool) -> None:
        """A client behind this one does not take what it is sent, or does so again.

        FluxError EINVAL for a way longer than `MAX_WAY`, ENOBUFS when `MAX_BEHIND` others are held.
        """
        if not is_held:
            if way in self.behind:
                self.behind.pop(way).release()
            return
        if sum(map(len, way)) > MAX_WAY:
            raise FluxError(errno.EINVAL, f"the ids on the way to a client have more than {MAX_WAY} characters")
        if len(self.behind) >= MAX_BEHIND and way not in self.behind:
            raise FluxError(errno.ENOBUFS, f"{MAX_BEHIND} clients behind one connection are held already")
        self.behind.setdefault(way, Behind(asyncio.get_running_loop()))

    def close(self) -> None:
        self.channel.close()
        for way in list(self.behind):
            self.hold(way, False)
