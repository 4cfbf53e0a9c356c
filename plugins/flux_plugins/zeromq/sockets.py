"""ZeroMQ sockets on an asyncio loop, without a thread or a task.

ZeroMQ's descriptor is edge-triggered, and any call on a socket may swallow an edge: so after each read event the
socket is read until it is empty, and a socket that something was sent on is asked whether there is something to read.
For what is sent on while messages are read, as a broker does that passes them on, that is done once they all are.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import ClassVar

import zmq

from flux.errors import FluxError

__all__ = ["HWM", "LINGER_MS", "NOBLOCK", "LoopSocket", "read_frames"]

LINGER_MS = 5
HWM = 0
_BATCH = 1000

# plain numbers: "|" and "==" on pyzmq's enumerations take longer than the calls they are for
NOBLOCK, RCVMORE, _MORE = int(zmq.NOBLOCK), int(zmq.RCVMORE), int(zmq.SNDMORE) | int(zmq.NOBLOCK)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


class LoopSocket:
    """A socket whose incoming messages are given to a function.

    Args:
        sock: a connected or bound socket; closed by `close`.
        on_frames: called with the frames of each message.
        on_error: called with an exception that on_frames let through.
        read_one: reads the frames of one message; zmq.Again when there is none.
        on_empty: called each time the socket has been read until it was empty.
    """

    # sockets that were sent on since the outermost of the drains that run began; None outside of drains
    _sent_on: ClassVar[list[LoopSocket] | None] = None

    def __init__(
        self,
        sock: zmq.Socket[bytes],
        on_frames: Callable[[list[bytes]], None],
        on_error: Callable[[Exception], None],
        read_one: Callable[[zmq.Socket[bytes]], list[bytes]] | None = None,
        on_empty: Callable[[], None] | None = None,
    ) -> None:
        self.sock = sock
        self._on_frames = on_frames
        self._on_error = on_error
        self._on_empty = on_empty
        self._read_one = read_one or _read_message
        # the plain method: pyzmq's own takes as long as what it calls
        self._send = super(zmq.Socket, sock).send
        self._touched = False
        self._loop = asyncio.get_running_loop()
        self._fd = int(sock.getsockopt(zmq.FD))
        self._scheduled = False
        self._draining = False
        self.closed = False
        self._loop.add_reader(self._fd, self.drain)
        self.poke()

    def send(self, frames: Sequence[bytes]) -> None:
        """Send one message. FluxError EHOSTUNREACH when its peer is gone."""
        send = self._send
        try:
            for frame in frames[:-1]:
                send(frame, _MORE)
            send(frames[-1], NOBLOCK)
        except zmq.ZMQError as exc:
            raise FluxError(exc.errno or errno.EIO, f"overlay send: {exc}") from None
        finally:
            self._look_again()

    def _look_again(self) -> None:
        sent_on = LoopSocket._sent_on
        if sent_on is None:
            self.poke()
        elif not self._touched:
            self._touched = True
            sent_on.append(self)

    def poke(self) -> None:
        """Look at the socket again before the loop goes to sleep."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._poked)

    def _poked(self) -> None:
        self._scheduled = False
        self.drain()

    def drain(self) -> None:
        """Read the socket until it is empty and handle what was there."""
        if self.closed or self._draining:
            return
        self._draining = True
        outermost = LoopSocket._sent_on is None
        if outermost:
            LoopSocket._sent_on = []
        try:
            batch = self._read_batch()
            for frames in batch:
                self._handle(frames)
        finally:
            self._draining = False
            if outermost:
                self._check_sent_on()
        if len(batch) == _BATCH:
            self.poke()
        elif self._on_empty is not None and not self.closed:
            self._on_empty()

    @staticmethod
    def _check_sent_on() -> None:
        """Have those read that have got something; asking takes a tenth of a turn of the loop."""
        sent_on, LoopSocket._sent_on = LoopSocket._sent_on or [], None
        for each in sent_on:
            each._touched = False
            if not each.closed and each._has_message():
                each.poke()

    def _has_message(self) -> bool:
        return bool(int(self.sock.get(_EVENTS)) & _POLLIN)

    def _read_batch(self) -> list[list[bytes]]:
        """What is there. To ask first takes less time than to be told by an exception, where there is one or none."""
        batch: list[list[bytes]] = []
        read_one, sock = self._read_one, self.sock
        if not self._has_message():
            return batch
        batch.append(read_one(sock))
        if not self._has_message():
            return batch
        try:
            while len(batch) < _BATCH:
                batch.append(read_one(sock))
        except zmq.Again:
            pass
        return batch

    def _handle(self, frames: list[bytes]) -> None:
        if self.closed:
            return
        try:
            self._on_frames(frames)
        except Exception as exc:
            self._on_error(exc)

    def close(self) -> None:
        """Stop reading and close; what was sent has LINGER_MS to leave."""
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._fd)
            self.sock.close(linger=LINGER_MS)


def read_frames(sock: zmq.Socket[bytes], frames: list[bytes]) -> list[bytes]:
    """Read one message, or the rest of one, after the frames given. zmq.Again when there is none."""
    recv, get = sock.recv, sock.get
    frames.append(recv(NOBLOCK))
    while get(RCVMORE):
        frames.append(recv(NOBLOCK))
    return frames


def _read_message(sock: zmq.Socket[bytes]) -> list[bytes]:
    return read_frames(sock, [])
