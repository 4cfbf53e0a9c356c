"""The child's end of an overlay connection: one DEALER socket to the parent.

Its end is noticed by the socket's monitor, or said by the parent with a control message; then everything that was sent
up and is not answered gets EHOSTUNREACH. A connection is made once: to go on, its owner makes one to another parent.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Protocol

import msgspec
import zmq

from flux.errors import FluxError, ProtocolError
from flux.hooks.kernel import Switchboard
from flux.message import CONTROL, REQUEST, RESPONSE, ROLE_OWNER, USERID_UNKNOWN, Message
from flux_plugins.overlay import wire
from flux_plugins.overlay.hello import GOODBYE, HELLO, Goodbye, HelloRequest, HelloResponse
from flux_plugins.overlay.peers import Status
from flux_plugins.overlay.trace import Tap
from flux_plugins.zeromq.curve import dealer
from flux_plugins.zeromq.monitor import Monitor
from flux_plugins.zeromq.sockets import LoopSocket

__all__ = ["ParentLink", "Upstream", "UpstreamOwner"]

_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)


class UpstreamOwner(Protocol):
    """What the child's end needs of the overlay it belongs to."""

    def parent_lost(self, reason: str, final: bool) -> None:
        """The parent was there and is no more; `final` when it has sent this broker away."""

    def report(self, text: str, error: Exception | None = None) -> None:
        """Write to the log."""


class ParentLink:
    """The link to the parent (`flux.hooks.kernel.Link`). Until it is open it holds what it is given.

    Args:
        uuid: its route id in the switch. Each connection needs one of its own: an answer to what came over
            another one must not find its way.
    """

    userid = USERID_UNKNOWN
    rolemask = 0
    owner = True

    def __init__(self, uuid: str) -> None:
        self.uuid = uuid
        self.peer_uuid = ""
        self._bytes = b""
        self._upstream: Upstream | None = None
        self._held: list[Message] = []

    def open(self, upstream: Upstream, peer_uuid: str) -> None:
        """The parent is there: send it what was held."""
        self._upstream, self.peer_uuid, self._bytes = upstream, peer_uuid, peer_uuid.encode()
        held, self._held = self._held, []
        for msg in held:
            self.send(msg)

    def send(self, msg: Message) -> None:
        if self._upstream is None:
            self._held.append(msg)
        else:
            self._upstream.show("tx", msg)
            self._upstream.send(wire.to_parent(msg, self._bytes))


class Upstream:
    """The connection to the parent.

    Args:
        context: ZeroMQ context.
        uuid: route id of this broker.
        keys: CURVE key pair of this broker, (public, secret), Z85.
        parent_key: the parent's public key, Z85.
        switch, owner: where messages and losses go.
        rank: of the parent.
        waiting: the link in the switch that becomes this connection's; None makes one.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        uuid: str,
        keys: tuple[bytes, bytes],
        parent_key: str,
        switch: Switchboard,
        owner: UpstreamOwner,
        rank: int = 0,
        waiting: ParentLink | None = None,
    ) -> None:
        self.rank = rank
        self.tap: Tap | None = None
        self._switch, self._owner, self._waiting = switch, owner, waiting
        self._loop = asyncio.get_running_loop()
        self._last_sent = self.last_received = self._loop.time()
        self._joined: asyncio.Future[HelloResponse] = self._loop.create_future()
        self._left: asyncio.Future[None] = self._loop.create_future()
        self._connecting: asyncio.TimerHandle | None = None
        self._leaving = False
        self._ended = ""
        self.link: ParentLink | None = None
        sock = dealer(context, uuid, keys, parent_key)
        self._monitor = Monitor(context, sock, self._connection_event, self._failed)
        self._socket = LoopSocket(sock, self._frames, self._failed, on_empty=self._empty)

    def set_tcp_timeouts(self, unacknowledged: int, connect: int) -> None:
        """How long TCP waits for an acknowledgement, and for a connection; milliseconds."""
        self._socket.sock.setsockopt(zmq.TCP_MAXRT, unacknowledged)
        self._socket.sock.setsockopt(zmq.CONNECT_TIMEOUT, connect)

    # -- joining and leaving

    def set_ipv6(self, enabled: bool) -> None:
        """Whether the parent may be at an IPv6 address."""
        self._socket.sock.setsockopt(zmq.IPV6, int(enabled))

    async def join(self, endpoint: str, hello: HelloRequest, timeout: float | None) -> HelloResponse:
        """Connect and say hello; the link is in the switch when this returns.

        Args:
            timeout: seconds to wait for the connection, None for as long as it takes, as the answer is waited for.

        Raises:
            FluxError: what the parent refused, ETIMEDOUT, or EHOSTUNREACH when it closed the connection.
        """
        try:
            self._socket.sock.connect(endpoint)
        except zmq.ZMQError as exc:
            raise FluxError(exc.errno or errno.EIO, f"cannot connect to {endpoint}: {exc}") from None
        if timeout is not None:
            late = FluxError(errno.ETIMEDOUT, f"no connection to parent broker at {endpoint} after {timeout:g} s")
            self._connecting = self._loop.call_later(timeout, self._refused, late)
        self._request(HELLO, msgspec.to_builtins(hello))
        return await self._joined

    async def leave(self, timeout: float, moving: bool = False) -> None:
        """Say goodbye and wait until the parent has heard it, at most timeout seconds."""
        self._leaving = True
        if self.link is not None and not self._ended:
            self._request(GOODBYE, msgspec.to_builtins(Goodbye(True)) if moving else None)
            await asyncio.wait({self._left}, timeout=timeout)
            self._end("this broker has left")

    def _request(self, topic: str, payload: object) -> None:
        msg = Message(REQUEST, topic, payload, rolemask=ROLE_OWNER, aux=0, routes=[])
        self.send(wire.to_parent(msg, b""))

    def _refused(self, error: FluxError) -> None:
        if not self._joined.done():
            self._joined.set_exception(error)

    # -- sending

    def show(self, prefix: str, msg: Message) -> None:
        """Let those who look on see a message."""
        if self.tap is not None:
            self.tap(prefix, self.rank, msg)

    def send(self, frames: list[bytes]) -> None:
        if self._socket.closed:
            return
        self._last_sent = self._loop.time()
        self._socket.send(frames)

    def send_status(self, status: Status) -> None:
        """Tell the parent that the status of this subtree is another one."""
        if self.link is not None and not self._leaving:
            self.link.send(wire.control(wire.CONTROL_STATUS, status))

    def keep_alive(self, interval: float) -> None:
        """Send a sign of life when nothing was sent for interval seconds."""
        if self.link is not None and not self._leaving and self._loop.time() - self._last_sent >= interval:
            self.link.send(wire.control(wire.CONTROL_HEARTBEAT))

    def is_silent(self, limit: float) -> bool:
        """True when the parent sent nothing for longer than limit seconds."""
        return self.link is not None and not self._leaving and self._loop.time() - self.last_received > limit

    # -- receiving

    def _frames(self, frames: list[bytes]) -> None:
        link = self.link
        self.last_received = self._loop.time()
        try:
            msg = wire.from_parent(frames, link.peer_uuid if link else "")
        except ProtocolError as exc:
            self._owner.report(f"parent sent a malformed message: {exc}")
            return
        self.show("rx", msg)
        if msg.type == CONTROL:
            if msg.aux == wire.CONTROL_DISCONNECT:
                self._end("the parent disconnected this broker", final=True)
        elif msg.type == RESPONSE and msg.topic == HELLO and link is None:
            self._hello_response(msg)
        elif msg.type == RESPONSE and msg.topic == GOODBYE and self._leaving:
            self._parted()
        elif link is not None:
            self._switch.receive(msg, link)

    def _hello_response(self, msg: Message) -> None:
        if msg.aux:
            self._refused(FluxError(msg.aux, f"parent broker refused us: {msg.error}", HELLO))
            return
        try:
            hello = msg.decode(HelloResponse)
        except ProtocolError as exc:
            self._refused(exc)
            return
        link = self._waiting or ParentLink(hello.uuid)
        if self._waiting is None:
            self._switch.attach_parent(link)
        self.link = link
        link.open(self, hello.uuid)
        if not self._joined.done():
            self._joined.set_result(hello)

    # -- ends

    def _connection_event(self, event: zmq.Event, value: int, endpoint: str) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._connected()
        elif event == zmq.EVENT_CONNECT_RETRIED and self._waiting is not None:
            self._refused(FluxError(errno.ECONNREFUSED, f"nobody listens at {endpoint}"))
        elif event in _REFUSED:
            text = f"parent broker at {endpoint} did not accept our key or protocol ({event.name}, code {value})"
            self._refused(FluxError(errno.EPERM, text))
        elif event == zmq.EVENT_DISCONNECTED and not self._ended:
            self._ended = f"connection to {endpoint} was closed"
            self._socket.poke()

    def _connected(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None

    def _empty(self) -> None:
        # what the parent sent before its end has been handled by now
        if self._ended:
            self._end(self._ended)

    def _end(self, reason: str, final: bool = False) -> None:
        if self._socket.closed:
            return
        self._ended = reason
        link, self.link = self.link, None
        self._refused(FluxError(errno.EHOSTUNREACH, reason))
        self._parted()
        self.close()
        if link is not None:
            self._switch.detach(link, errno.EHOSTUNREACH, "overlay disconnect")
            if not self._leaving:
                self._owner.parent_lost(reason, final)

    def disconnect(self, reason: str) -> None:
        """Give up the parent."""
        self._end(reason)

    def _parted(self) -> None:
        if not self._left.done():
            self._left.set_result(None)

    def _failed(self, exc: Exception) -> None:
        self._owner.report("error while handling a message from the parent", exc)

    def close(self) -> None:
        """Close without another word. Messages to the parent go nowhere from now on."""
        self._connected()
        self._joined.cancel()
        self._monitor.close()
        self._socket.close()
