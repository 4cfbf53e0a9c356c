"""Message channels of processes (RFC 42, msgchans): a socket in the process, joined to a connector of this broker."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Coroutine, Iterable
from typing import Any

from flux.errors import FluxError
from flux_plugins.rexec.protocol import MessageChannel

__all__ = ["MessageChannels"]

_CHUNK = 65536


class MessageChannels:
    """The message channels of one process.

    Both ends greet and frame messages in the same way, so what is read at one is written at the other, as fast as it
    is taken. A channel ends in both directions when one of its ends is closed.

    Raises:
        FluxError: EINVAL for a URI that is none of a local connector; ECONNREFUSED, ENOENT and their like when nobody
            listens there.
    """

    def __init__(self, wanted: list[MessageChannel]) -> None:
        self.environment: dict[str, str] = {}
        self.theirs: list[int] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            for channel in wanted:
                self._open(channel)
        except BaseException:
            self.close()
            raise

    def _open(self, channel: MessageChannel) -> None:
        outer = _connect(channel.uri)
        ours, theirs = socket.socketpair()
        self._pairs.append((ours, outer))
        fd = theirs.detach()
        self.theirs.append(fd)
        self.environment[channel.name] = f"fd://{fd}"

    def relays(self) -> list[Coroutine[Any, Any, None]]:
        """What carries the messages, once the process runs; this object has no descriptors any more then."""
        pairs, self._pairs = self._pairs, []
        self.close()
        return [_relay(ours, outer) for ours, outer in pairs]

    def close(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())
        while self._pairs:
            for sock in self._pairs.pop():
                sock.close()


def _connect(uri: str) -> socket.socket:
    scheme, _, path = uri.partition("://")
    if scheme != "local" or not path:
        raise FluxError(errno.EINVAL, f"message channel {uri!r}: only local://PATH can be reached from here")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(path)
    except OSError as exc:
        sock.close()
        raise FluxError(exc.errno or errno.EIO, f"message channel {uri}: {exc.strerror}") from None
    return sock


async def _relay(*ends: socket.socket) -> None:
    (reader, writer), (outer_reader, outer_writer) = [await asyncio.open_connection(sock=sock) for sock in ends]
    both = (writer, outer_writer)
    await asyncio.gather(_copy(reader, outer_writer, both), _copy(outer_reader, writer, both))


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, both: Iterable[asyncio.StreamWriter]
) -> None:
    """Carry one direction until it ends; both ends are closed then, which ends the other direction too."""
    try:
        while data := await source.read(_CHUNK):
            target.write(data)
            await target.drain()
    except ConnectionError:
        return  # an end was closed while something was on its way to it
    finally:
        for writer in both:
            writer.close()
