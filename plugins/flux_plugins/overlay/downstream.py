"""The parent's end of overlay connections: one ROUTER socket for all children.

How the death of a child is noticed: ZeroMQ's ROUTER does not say whose connection ended, but its monitor gives the
descriptor, and a received frame the descriptor it was read from. The hello of a child ties the two together, so that a
broker that was killed is known to be lost as soon as the kernel closes its socket. A host that vanishes without a word
is left to TCP (`tbon.tcp_user_timeout`); one that is merely silent is flagged torpid.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, Protocol

import zmq

from flux.errors import FluxError, ProtocolError
from flux.hooks.kernel import Switchboard
from flux.message import CONTROL, EVENT, REQUEST, ROLE_OWNER, USERID_UNKNOWN, Message
from flux_plugins.overlay import wire
from flux_plugins.overlay.backlog import Backlog
from flux_plugins.overlay.hello import GOODBYE, HELLO, NEWCOMER, Goodbye, HelloRequest
from flux_plugins.overlay.peers import Peer, Peers, Status
from flux_plugins.overlay.trace import ANY_PEER, Tap
from flux_plugins.zeromq.curve import router
from flux_plugins.zeromq.monitor import Monitor
from flux_plugins.zeromq.sockets import NOBLOCK, LoopSocket, read_frames
from flux_plugins.zeromq.zap import ANY_RANK

RESYNC = "overlay.resync"
BACKLOG_SIZE = 16 << 20

__all__ = ["ChildLink", "Downstream", "DownstreamOwner"]


class DownstreamOwner(Protocol):
    """What the parent's end needs of the overlay it belongs to."""

    def check_child(self, msg: Message, hello: HelloRequest) -> None:
        """FluxError when the child is refused."""

    def welcome(self) -> dict[str, Any]:
        """Payload of the hello response."""

    def ranks_behind(self, rank: int) -> list[int]: ...

    def host_of(self, rank: int) -> str: ...

    def child_changed(self, peer: Peer, moved: bool = False) -> None:
        """The status or torpidity of a child is another one; `moved` when it has left for another parent."""

    def report(self, text: str, error: Exception | None = None) -> None:
        """Write to the log."""


class ChildLink:
    """The link to one child (`flux.hooks.kernel.Link`)."""

    # peers stamp what enters at their place; nothing is stamped on what comes from them
    userid = USERID_UNKNOWN
    rolemask = 0
    owner = True

    def __init__(self, downstream: Downstream, peer: Peer) -> None:
        self.uuid = peer.uuid
        self.identity = peer.uuid.encode()
        self.peer = peer
        self._downstream = downstream

    def send(self, msg: Message) -> None:
        """Send to the child; when it is gone it is declared lost, which answers what waits on it."""
        self._downstream.send(self, msg)


class _FromStranger(list[bytes]):
    """The frames of a peer that was no child when they were read, its descriptor, and the rank that its key is of."""

    def __init__(self, frames: list[bytes], descriptor: int, rank_by_key: str) -> None:
        super().__init__(frames)
        self.descriptor = descriptor
        self.rank_by_key = rank_by_key


class Downstream:
    """The connections of a broker's children.

    Args:
        context: ZeroMQ context, with its ZAP handler bound.
        secret_key: CURVE secret of this broker, Z85.
        uuid: route id of this broker.
        switch, peers, owner: where messages, states and decisions go.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        secret_key: bytes,
        uuid: str,
        switch: Switchboard,
        peers: Peers,
        owner: DownstreamOwner,
    ) -> None:
        self._uuid, self._uuid_bytes = uuid, uuid.encode()
        self._switch, self.peers, self._owner = switch, peers, owner
        self._loop = asyncio.get_running_loop()
        self._links: dict[bytes, ChildLink] = {}
        self._events = wire.EventFrames()
        self._accepted: set[int] = set()
        self._ending: list[tuple[ChildLink, str]] = []
        self._early: list[tuple[bytes, Message, int, str]] | None = []
        self._closing = False
        self.tap: Tap | None = None
        self._seen: Message | None = None
        self.backlog = Backlog(0, 0)
        self.endpoints: list[str] = []
        sock = router(context, secret_key)
        self._monitor = Monitor(context, sock, self._connection_event, self._failed)
        self._socket = LoopSocket(sock, self._frames, self._failed, self._read, self._empty)

    def set_tcp_timeout(self, milliseconds: int) -> None:
        """How long sent data may stay unacknowledged before TCP gives a child up."""
        self._socket.sock.setsockopt(zmq.TCP_MAXRT, milliseconds)

    def set_ipv6(self, enabled: bool) -> None:
        """Whether endpoints bound from now on may be IPv6; if so, a named interface must have such an address."""
        self._socket.sock.setsockopt(zmq.IPV6, int(enabled))

    def bind(self, endpoint: str) -> str:
        """Accept connections at an endpoint; gives it with its real port. FluxError when it cannot be bound."""
        try:
            self._socket.sock.bind(endpoint)
        except zmq.ZMQError as exc:
            raise FluxError(exc.errno or errno.EIO, f"cannot bind {endpoint}: {exc}") from None
        bound = self._socket.sock.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        text = bound.rstrip(b"\0").decode()
        self.endpoints.append(text)
        return text

    def keep_events(self, count: int) -> None:
        """Keep the newest events for children that come from another parent."""
        self.backlog = Backlog(count, BACKLOG_SIZE)
        self._switch.on_event.append(self._remember)

    def _remember(self, msg: Message) -> None:
        self.backlog.add(msg.aux, self._events.get(msg))

    def links(self) -> list[ChildLink]:
        """The links to the children that are connected."""
        return list(self._links.values())

    def open(self) -> None:
        """Answer the children from now on; those that said hello earlier get their answer."""
        early, self._early = self._early or [], None
        for identity, msg, connection, user in early:
            self._hello(identity, msg, connection, user)

    # -- sending

    def send(self, link: ChildLink, msg: Message) -> None:
        frames = self._events.get(msg) if msg.type == EVENT else wire.to_child(msg, self._uuid_bytes)
        if self.tap is not None:
            self._show(self.tap, link, msg)
        self._send(link, frames)

    def _show(self, tap: Tap, link: ChildLink, msg: Message) -> None:
        """An event is shown once, whatever the number of children."""
        if msg.type != EVENT:
            tap("tx", link.peer.rank, msg)
        elif msg is not self._seen:
            self._seen = msg
            tap("tx", ANY_PEER, msg)

    def _send(self, link: ChildLink, frames: list[bytes]) -> None:
        link.peer.unheard += sum(map(len, frames))
        try:
            self._socket.send([link.identity, *frames])
        except FluxError as exc:
            # not at once: the switch is in the middle of routing
            self._end(link, str(exc))

    def _reply(self, identity: bytes, msg: Message) -> None:
        try:
            self._socket.send([identity, *wire.to_child(msg, self._uuid_bytes)])
        except FluxError as exc:
            self._owner.report(f"child {identity.decode(errors='replace')} left before it was answered: {exc}")

    # -- receiving

    def _read(self, sock: zmq.Socket[bytes]) -> list[bytes]:
        """One message, that of an unknown peer with what ZeroMQ knows of it."""
        frames = [sock.recv(NOBLOCK)]
        if frames[0] in self._links:
            return read_frames(sock, frames)
        parts = sock.recv_multipart(NOBLOCK, copy=False)
        return _FromStranger(
            [*frames, *(part.bytes for part in parts)], parts[-1].get(zmq.SRCFD), str(parts[-1].get("User-Id"))
        )

    def _frames(self, frames: list[bytes]) -> None:
        identity = frames[0]
        link = self._links.get(identity)
        if link is None:
            if isinstance(frames, _FromStranger):  # else of a peer whose connection was ended after this was read
                self._stranger(identity, frames[1:], frames.descriptor, frames.rank_by_key)
            return
        self._alive(link.peer)
        try:
            msg = wire.from_child(frames[1:], self._uuid)
        except ProtocolError as exc:
            self.disconnect(link.peer, f"sent a malformed message: {exc}")
            return
        if self.tap is not None:
            self.tap("rx", link.peer.rank, msg)
        if msg.type == CONTROL:
            self._control(link, msg)
        elif msg.topic == GOODBYE and msg.type == REQUEST:
            self._goodbye(link, msg)
        else:
            self._switch.receive(msg, link)

    def _alive(self, peer: Peer) -> None:
        peer.last_seen = self._loop.time()
        peer.unheard = 0
        if peer.torpid:
            peer.torpid = False
            self._owner.child_changed(peer)

    def _control(self, link: ChildLink, msg: Message) -> None:
        if msg.aux == wire.CONTROL_STATUS and msg.matchtag in Status._value2member_map_:
            if self.peers.changed(link.peer, Status(msg.matchtag), self._loop.time()):
                self._owner.child_changed(link.peer)
        elif msg.aux != wire.CONTROL_HEARTBEAT:
            self._owner.report(f"rank {link.peer.rank} sent unknown control message {msg.aux}/{msg.matchtag}")

    def _goodbye(self, link: ChildLink, msg: Message) -> None:
        self._reply(link.identity, wire.response(msg))
        moving = msg.payload is not None and msg.decode(Goodbye).moving
        self._drop(link, Status.OFFLINE, "", moving)

    # -- hello

    def _stranger(self, identity: bytes, frames: list[bytes], connection: int, user: str) -> None:
        try:
            msg = wire.from_child(frames, self._uuid)
        except ProtocolError as exc:
            self._owner.report(f"unknown peer {identity.decode(errors='replace')} sent a malformed message: {exc}")
            self._reply(identity, wire.control(wire.CONTROL_DISCONNECT))
            return
        if msg.type != REQUEST or msg.topic != HELLO or self._closing:
            self._reply(identity, wire.control(wire.CONTROL_DISCONNECT))
        elif self._early is not None:
            self._early.append((identity, msg, connection, user))
        else:
            self._hello(identity, msg, connection, user)

    def _hello(self, identity: bytes, msg: Message, connection: int, user: str) -> None:
        self._monitor.drain()
        if connection not in self._accepted:
            return
        try:
            hello = self._checked_hello(identity, msg, user)
        except FluxError as exc:
            self._owner.report(f"refused hello of a child: {exc}")
            self._reply(identity, wire.response(msg, str(exc), errnum=exc.errno))
            return
        old = self.peers.expect(hello.rank, self._loop.time())
        if old.uuid in self.peers.online:
            self._drop(self._links[old.uuid.encode()], Status.LOST, "said hello again")
        status = Status(hello.status) if hello.status in Status._value2member_map_ else Status.FULL
        peer = self.peers.connected(hello.rank, hello.uuid, status, connection, self._loop.time())
        peer.answers = hello.sequence is not None
        self._accept(peer, msg, NEWCOMER if hello.sequence is None else hello.sequence)

    def _checked_hello(self, identity: bytes, msg: Message, user: str) -> HelloRequest:
        hello = msg.decode(HelloRequest)
        try:
            self._owner.check_child(msg, hello)
        except FluxError as exc:
            if hello.rank in self.peers.by_rank:
                self.peers.by_rank[hello.rank].error = str(exc)
            raise
        if hello.uuid.encode() != identity:
            raise FluxError(errno.EINVAL, f"rank {hello.rank} calls itself {hello.uuid}, its socket says otherwise")
        if user not in (str(hello.rank), ANY_RANK):
            raise FluxError(errno.EPERM, f"the key of rank {user} cannot be used by rank {hello.rank}")
        return hello

    def _accept(self, peer: Peer, msg: Message, sequence: int) -> None:
        link = ChildLink(self, peer)
        self._links[link.identity] = link
        self.send(link, wire.response(msg, self._owner.welcome()))
        if sequence != NEWCOMER:
            self._catch_up(link, sequence)
        self._switch.attach_child(link, self._owner.ranks_behind(peer.rank))
        self._owner.child_changed(peer)

    def _catch_up(self, link: ChildLink, sequence: int) -> None:
        """Send the events that a child has missed, or one in their place that says how many are lost to it."""
        newest = self._switch.sequence
        missed = self.backlog.after(sequence, newest)
        if missed is None:
            self._owner.report(f"rank {link.peer.rank} has missed events {sequence + 1} to {newest}: told to resync")
            lost = Message(EVENT, RESYNC, {"first": sequence + 1, "last": newest}, rolemask=ROLE_OWNER, aux=newest)
            missed = [self._events.get(lost)]
        for frames in missed:
            self._send(link, frames)

    # -- ends

    def _connection_event(self, event: zmq.Event, value: int, endpoint: str) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._accepted.add(value)
        elif event == zmq.EVENT_DISCONNECTED:
            self._accepted.discard(value)
            peer = self.peers.by_connection(value)
            if peer is not None:
                peer.connection = -1
                self._end(self._links[peer.uuid.encode()], "connection closed")
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self._owner.report(f"a connection to {endpoint} does not speak CURVE over ZMTP (code {value:#x})")

    def _end(self, link: ChildLink, reason: str) -> None:
        """Declare lost as soon as what the child has sent before is handled."""
        self._ending.append((link, reason))
        self._socket.poke()

    def _empty(self) -> None:
        ending, self._ending = self._ending, []
        for link, reason in ending:
            self._drop(link, Status.LOST, reason)

    def _drop(self, link: ChildLink, status: Status, reason: str, moved: bool = False) -> None:
        if self._links.get(link.identity) is not link:
            return
        del self._links[link.identity]
        peer = link.peer
        self.peers.gone(peer, status, reason, self._loop.time(), moved)
        text = f"{self._owner.host_of(peer.rank)} (rank {peer.rank}) is {status.name.lower()}"
        self._switch.detach(link, errno.EHOSTUNREACH, f"{text}: {reason}" if reason else text)
        self._owner.child_changed(peer, moved)

    def disconnect(self, peer: Peer, reason: str) -> None:
        """Tell a child that it is no longer wanted, and declare it lost."""
        link = self._links[peer.uuid.encode()]
        self.send(link, wire.control(wire.CONTROL_DISCONNECT))
        self._drop(link, Status.LOST, reason)

    def check_torpid(self, limit: float) -> None:
        """Flag the children that were silent for longer than limit seconds."""
        for peer in self.peers.silent(self._loop.time(), limit):
            self._owner.child_changed(peer)

    def keep_alive(self, interval: float) -> None:
        """Send a sign of life to the children that want one."""
        now = self._loop.time()
        for link in self.links():
            if link.peer.answers and now - link.peer.last_sent >= interval:
                link.peer.last_sent = now
                self.send(link, wire.control(wire.CONTROL_HEARTBEAT))

    def give_up_silent(self, limit: int) -> None:
        """Close the connections of torpid children that more than limit bytes wait for."""
        for link in self.links():
            peer = link.peer
            if peer.torpid and peer.unheard > limit:
                connection = peer.connection
                self._drop(link, Status.LOST, f"silent while {peer.unheard >> 20} MiB were sent to it")
                self._cut(connection)

    def _cut(self, connection: int) -> None:
        """End a connection that ZeroMQ has no way to end: what is queued for it goes with it."""
        self._monitor.drain()
        if connection in self._accepted:
            with socket.socket(fileno=os.dup(connection)) as sock:
                sock.shutdown(socket.SHUT_RDWR)

    def _failed(self, exc: Exception) -> None:
        self._owner.report("error while handling a message from a child", exc)

    def close(self) -> None:
        """Disconnect who is still there and close."""
        self._closing = True
        for peer in list(self.peers.online.values()):
            self.disconnect(peer, "the parent is going down")
        self._monitor.close()
        self._socket.close()
