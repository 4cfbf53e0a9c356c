"""The end of the ring that brokers before this one connect to: packets come in."""

from __future__ import annotations

import errno
from collections.abc import Callable

import zmq

from flux.errors import FluxError
from flux_plugins.ring import wire
from flux_plugins.ring.outbox import Receipts
from flux_plugins.zeromq.curve import router
from flux_plugins.zeromq.sockets import NOBLOCK, LoopSocket, read_frames

__all__ = ["Predecessor"]


class Predecessor:
    """A listening socket. Usually one broker is connected to it, another one when that one has left this one out.

    Args:
        context: ZeroMQ context, with its ZAP handler bound.
        secret_key: CURVE secret of this broker. rank: of it.
        on_packet: called with the frames of each packet, and what to call when it is at its end.
        report: called with a text for the log. on_error: called with an unexpected exception.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        secret_key: bytes,
        rank: int,
        on_packet: Callable[[list[bytes], Callable[[], None]], None],
        report: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._rank = rank
        self._on_packet, self._report = on_packet, report
        self._peers: dict[bytes, Receipts] = {}
        self._by_rank: dict[int, bytes] = {}
        self._socket = LoopSocket(router(context, secret_key), self._frames, on_error, self._read)

    def bind(self, endpoint: str) -> str:
        """Listen at an endpoint; gives it with its real port. FluxError when it cannot be bound."""
        sock = self._socket.sock
        try:
            sock.bind(endpoint)
        except zmq.ZMQError as exc:
            raise FluxError(exc.errno or errno.EIO, f"cannot bind {endpoint}: {exc}") from None
        bound = sock.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        return bound.rstrip(b"\0").decode()

    def _read(self, sock: zmq.Socket[bytes]) -> list[bytes]:
        """One message, after its identity: the rank of an unknown peer by its key, or nothing for one that is known."""
        identity = sock.recv(NOBLOCK)
        if identity in self._peers:
            return read_frames(sock, [identity, b""])
        parts = sock.recv_multipart(NOBLOCK, copy=False)
        return [identity, str(parts[-1].get("User-Id")).encode(), *(part.bytes for part in parts)]

    def _frames(self, frames: list[bytes]) -> None:
        identity, key_of = frames[:2]
        receipts = self._peers.get(identity)
        if key_of:
            self._hello(identity, frames[2:], key_of)
        elif receipts is not None and frames[2] == wire.PACKET:
            done = receipts.receive()
            self._reply(identity, wire.GOT, receipts.received)
            self._on_packet(frames[3:], done)
        # else its broker has made another connection, which brings this packet again

    def _hello(self, identity: bytes, frames: list[bytes], key_of: bytes) -> None:
        rank = wire.number(frames)
        if not frames or frames[0] != wire.HELLO or wire.number_frame(rank) != key_of:
            self._report(f"a broker with the key of rank {key_of.decode()} did not say hello as that one")
            return
        self._peers.pop(self._by_rank.get(rank, b""), None)
        self._by_rank[rank] = identity
        self._peers[identity] = Receipts(lambda receipts: self._reply(identity, wire.ENDED, receipts.ended))
        self._reply(identity, wire.WELCOME, self._rank)

    def _reply(self, identity: bytes, word: bytes, value: int) -> None:
        if self._socket.closed:
            return
        try:
            self._socket.send([identity, word, wire.number_frame(value)])
        except FluxError:
            self._peers.pop(identity, None)  # it has gone, and sends the packet another way

    def close(self) -> None:
        self._socket.close()
