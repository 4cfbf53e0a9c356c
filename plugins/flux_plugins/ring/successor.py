"""The connection to the next broker of the ring: packets go out, and how they fare comes back."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from uuid import uuid4

import zmq

from flux.errors import FluxError
from flux_plugins.ring import wire
from flux_plugins.ring.circle import Member
from flux_plugins.zeromq.curve import dealer
from flux_plugins.zeromq.monitor import Monitor
from flux_plugins.zeromq.sockets import LoopSocket

__all__ = ["Successor"]

_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


class Successor:
    """One connection to one broker. It is made once: after its end another one is made.

    Attributes:
        sent: how many packets. got: how many of them that broker has. heard: when it last said anything.

    Args:
        keys: CURVE public and secret key of this broker.
        rank: of this broker. member: to connect to.
        on_ended: called with this and how many of the first packets sent have reached their target.
        on_end: called with this and a reason when the connection ends after it was joined.
        on_error: called with an unexpected exception.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: tuple[bytes, bytes],
        rank: int,
        member: Member,
        on_ended: Callable[[Successor, int], None],
        on_end: Callable[[Successor, str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.member = member
        self._rank = rank
        self._on_ended, self._on_end = on_ended, on_end
        self._loop = asyncio.get_running_loop()
        self.sent = self.got = 0
        self.heard = self._loop.time()
        self._joined: asyncio.Future[None] = self._loop.create_future()
        self._welcome = False
        sock = dealer(context, str(uuid4()), keys, member.pubkey)
        self._monitor = Monitor(context, sock, self._connection_event, on_error)
        self._socket = LoopSocket(sock, self._frames, on_error)

    async def join(self, timeout: float) -> None:
        """Connect and be let in.

        Raises:
            FluxError: ETIMEDOUT, ECONNREFUSED when nobody is there, EPERM when that broker does not let this one in.
        """
        try:
            self._socket.sock.connect(self.member.uri)
            self._socket.send([wire.HELLO, wire.number_frame(self._rank)])
            async with asyncio.timeout(timeout):
                await self._joined
        except TimeoutError as exc:
            if isinstance(exc, FluxError):
                raise
            raise FluxError(errno.ETIMEDOUT, f"rank {self.member.rank} does not answer") from None
        except zmq.ZMQError as exc:
            raise FluxError(exc.errno or errno.EIO, f"cannot connect to {self.member.uri}: {exc}") from None

    def send(self, frames: list[bytes]) -> None:
        """Hand over a packet."""
        if not self._socket.closed:
            self.sent += 1
            self._socket.send([wire.PACKET, *frames])

    def _frames(self, frames: list[bytes]) -> None:
        self.heard = self._loop.time()
        if frames[0] == wire.GOT:
            self.got = wire.number(frames)
        elif frames[0] == wire.ENDED:
            self._on_ended(self, wire.number(frames))
        elif frames[0] == wire.WELCOME and not self._joined.done():
            self._welcome = True
            self._joined.set_result(None)

    def _connection_event(self, event: zmq.Event, _value: int, endpoint: str) -> None:
        if event in _REFUSED:
            self._ended(errno.EPERM, f"rank {self.member.rank} does not let this broker in")
        elif event in (zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_DISCONNECTED):
            self._ended(errno.ECONNREFUSED, f"no connection to rank {self.member.rank} at {endpoint}")

    def _ended(self, errnum: int, reason: str) -> None:
        if not self._joined.done():
            self._joined.set_exception(FluxError(errnum, reason))
        elif self._welcome and not self._socket.closed:
            self._on_end(self, reason)

    def close(self) -> None:
        self._joined.cancel()
        self._monitor.close()
        self._socket.close()
