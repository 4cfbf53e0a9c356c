"""The module `ring`: joins this broker to the ring, and takes requests round it (`ring.forward`).

A request is given to the ring of the rank where its client is, goes from rank to rank to its target, and is put
into the switch there with the client's credential; what is answered goes on round the ring. What comes back to where
it began has found nobody. Members get to know each other through rank 0, while the tree is whole.
"""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

import msgspec
import zmq

from flux.errors import FluxError
from flux.frames import FrameDecoder
from flux.hostlist import Hostlist
from flux.idset import IDset
from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, ROLE_LOCAL, Message
from flux.message import REQUEST as MESSAGE_REQUEST
from flux.module import DEFERRED, Module, Subscribers, request
from flux_plugins.ring.circle import Circle, Member, Seen
from flux_plugins.ring.outbox import Done
from flux_plugins.ring.packet import (
    DISCONNECT,
    LOST,
    REQUEST,
    RESPONSE,
    Packet,
    decode_message,
    decode_packet,
    encode_packet,
)
from flux_plugins.ring.passage import Passage
from flux_plugins.ring.predecessor import Predecessor
from flux_plugins.ring.visitor import Visitor
from flux_plugins.zeromq.address import ipc_endpoint, listen_address, tcp_endpoint
from flux_plugins.zeromq.sockets import LINGER_MS
from flux_plugins.zeromq.zap import ZapHandler

__all__ = ["Ring", "RingOptions"]

_RETRY = 0.5  # seconds until rank 0 is asked again
_NOT_BY_RING = ("event.", "service.")


class RingOptions(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        timeout: seconds that the next broker has to acknowledge what it is sent; then it is left out.
        retry: seconds until a broker that was left out is tried again.
    """

    timeout: float = 5.0
    retry: float = 5.0


class Ring(Module):
    """Requests to any rank, past a tree that is broken."""

    name = "ring"
    isolatable = False
    options_type: ClassVar[type[msgspec.Struct] | None] = RingOptions

    def __init__(self) -> None:
        self._epoch = str(uuid4())
        self._count = 0
        self._circle = Circle(self.rank)
        self._seen = Seen()
        self._subscribers = Subscribers(self)
        self._asked: dict[tuple[str, int, int], Message] = {}
        self._went: dict[str, set[int]] = {}
        self._visitors: dict[tuple[int, str], Visitor] = {}
        self._counts = {"sent": 0, "passed": 0, "returned": 0}

    # -- life cycle

    def start(self) -> None:
        context = self._context = zmq.Context()
        public, secret = zmq.curve_keypair()
        self._zap = ZapHandler(context, self.log.debug, partial(self.log.exception, "authentication failed"))
        failed = partial(self.log.exception, "error in the ring")
        self._in = Predecessor(context, secret, self.rank, self._arrived, self.log.warning, failed)
        self._uri = self._in.bind(self._endpoint())
        member = Member(self.rank, self._uri, public.decode(), self._epoch)
        self._out = Passage(self, context, (public, secret), self._circle, self.options, self._left_out, self._arrived)
        self._add(member)
        self.spawn(self._meet(member), "meet")

    def _endpoint(self) -> str:
        """Where the broker before this one connects: a socket file when all are on one host."""
        attrs = self.broker.attrs
        hosts = set(Hostlist(attrs.get("hostlist") or ""))
        # a name of its own: a module that is exchanged for another is still there when that one starts
        near = ipc_endpoint(attrs["rundir"], self.rank, f"ring-{self._epoch[:8]}")
        if near is not None and len(hosts) <= 1 and attrs.get("tbon.prefertcp", "0") == "0":
            return near
        return tcp_endpoint(listen_address(attrs.get("tbon.interface-hint") or "default-route"))

    async def _meet(self, member: Member) -> None:
        """Be known at rank 0, and hear from it who else is there, for as long as there is a way to it."""
        while True:
            try:
                known = self.flux.rpc("ring.register", msgspec.to_builtins(member), 0, FLAG_STREAMING)
                async for answer in known:
                    for entry in answer["members"]:
                        self._add(msgspec.convert(entry, Member))
            except FluxError as exc:
                self.log.debug(f"rank 0 does not tell who is in the ring: {exc}")
            await asyncio.sleep(_RETRY)

    def _add(self, member: Member) -> None:
        old = self._circle.members.get(member.rank)
        if old == member:
            return
        self._circle.members[member.rank] = member
        if old is not None:
            self._seen.forget(member.rank)
        if member.rank != self.rank:
            self._zap.allow(member.pubkey, member.rank)
        self._out.changed()

    async def stop(self) -> None:
        await self._out.close()
        for visitor in self._visitors.values():
            self.broker.switch.detach(visitor)
        for msg in self._asked.values():
            self.flux.respond_error(msg, errno.ENOSYS, "ring is being unloaded")
        self._in.close()
        self._zap.close()
        self._context.destroy(linger=LINGER_MS)
        path = self._uri.removeprefix("ipc://")
        if path != self._uri and os.path.exists(path):
            os.unlink(path)

    def stats(self) -> dict[str, Any]:
        return {
            "members": sorted(self._circle.members),
            "next": self._out.next_rank,
            "left-out": self._circle.between(self._out.next_rank),
            "waiting": len(self._asked),
            "visitors": len(self._visitors),
            **self._counts,
        }

    # -- what others ask

    @request("register", streaming=True, payload=Member)
    def register(self, msg: Message, member: Member) -> Any:
        """Join the ring: answered with all members, and with each that comes later. Only on rank 0."""
        if self.rank != 0:
            raise FluxError(errno.EPROTO, "this service is only available on rank 0")
        if not 0 <= member.rank < self.size:
            raise FluxError(errno.EINVAL, f"there is no rank {member.rank}: this instance has 0-{self.size - 1}")
        self._add(member)
        self._subscribers.publish({"members": [msgspec.to_builtins(member)]})
        self._subscribers.add(msg)
        self.respond(msg, {"members": [msgspec.to_builtins(each) for each in self._circle.members.values()]})
        return DEFERRED

    @request("forward", streaming="optional")
    def forward(self, msg: Message) -> Any:
        """Take a request round the ring: the payload is that request, framed as on a stream socket (RFC 3).

        Its nodeid is the target. It is answered as if it had been sent by itself, under the match tag and with the
        flags and the credential of the one that brings it.
        """
        inner = _unwrap(msg)
        target = inner.aux
        if target not in self._circle.members:
            raise FluxError(errno.EHOSTUNREACH, f"rank {target} is not in the ring")
        if msg.matchtag and not msg.flags & FLAG_NORESPONSE:
            self._asked[msg.sender, target, msg.matchtag] = msg
        self._went.setdefault(msg.sender, set()).add(target)
        self._send(REQUEST, target, inner, client=msg.sender)
        return DEFERRED

    def disconnected(self, sender: str) -> None:
        for key in [key for key in self._asked if key[0] == sender]:
            del self._asked[key]
        for rank in self._went.pop(sender, ()):
            self._send(DISCONNECT, rank, client=sender)

    # -- packets

    def _send(
        self, kind: str, target: int, msg: Message | None = None, client: str = "", ranks: list[int] | None = None
    ) -> None:
        self._count += 1
        self._counts["sent"] += 1
        packet = Packet(kind, self.rank, target, self._epoch, self._count, 0, client, ranks or [])
        self._out.send(encode_packet(packet, msg), _nothing)

    def _arrived(self, frames: list[bytes], done: Done) -> None:
        """A packet has come in, or back when there is no other broker to give it to."""
        packet, rest = decode_packet(frames)
        packet.hops += 1
        if packet.kind == LOST:
            self._gone(packet.ranks)
        elif packet.target == self.rank:
            if self._seen.is_new(packet.origin, packet.epoch, packet.number):
                self._deliver(packet, rest)
            done()
            return
        if packet.origin == self.rank:
            self._came_back(packet, rest)
        elif packet.hops < self.size:
            self._counts["passed"] += 1
            self._out.send([*encode_packet(packet, None), *rest], done)
            return
        # else it has been everywhere, and who sent it is no more
        done()

    def _deliver(self, packet: Packet, frames: list[bytes]) -> None:
        if packet.kind == REQUEST:
            msg = decode_message(frames)
            self.broker.switch.receive(msg, self._visitor(packet))
        elif packet.kind == RESPONSE:
            self._answered(packet, decode_message(frames))
        elif packet.kind == DISCONNECT:
            self._end_visit(packet.origin, packet.client)

    def _visitor(self, packet: Packet) -> Visitor:
        key = (packet.origin, packet.client)
        visitor = self._visitors.get(key)
        if visitor is None:
            visitor = self._visitors[key] = Visitor(*key, self._answer)
            self.broker.switch.attach(visitor)
        return visitor

    def _end_visit(self, origin: int, client: str) -> None:
        visitor = self._visitors.pop((origin, client), None)
        if visitor is not None:
            self.broker.switch.detach(visitor)

    def _answer(self, visitor: Visitor, msg: Message) -> None:
        self._send(RESPONSE, visitor.origin, msg, client=visitor.client)

    def _answered(self, packet: Packet, answer: Message) -> None:
        key = (packet.client, packet.origin, answer.matchtag)
        msg = self._asked.get(key)
        if msg is None:
            return
        if answer.aux or not msg.flags & FLAG_STREAMING:
            del self._asked[key]
        if answer.aux:
            self.flux.respond_error(msg, answer.aux, answer.payload_str or "")
        else:
            self.flux.respond(msg, answer.raw)

    # -- ranks that cannot be reached

    def _came_back(self, packet: Packet, frames: list[bytes]) -> None:
        """Nobody has taken a packet of ours."""
        if packet.kind == LOST:
            return
        self._counts["returned"] += 1
        if packet.kind == REQUEST:
            key = (packet.client, packet.target, decode_message(frames).matchtag)
            self._refuse(key, f"rank {packet.target} cannot be reached by the ring")
        elif packet.kind == RESPONSE:
            self._end_visit(packet.target, packet.client)

    def _left_out(self, ranks: list[int]) -> None:
        """These do not take part any more: tell everyone."""
        self.log.info(f"ranks {IDset(ranks)} are left out of the ring")
        self._gone(ranks)
        self._send(LOST, self.rank, ranks=ranks)

    def _gone(self, ranks: list[int]) -> None:
        for key in [key for key in self._asked if key[1] in ranks]:
            self._refuse(key, f"rank {key[1]} was lost to the ring")
        for origin, client in [key for key in self._visitors if key[0] in ranks]:
            self._end_visit(origin, client)

    def _refuse(self, key: tuple[str, int, int], text: str) -> None:
        msg = self._asked.pop(key, None)
        if msg is not None:
            self.flux.respond_error(msg, errno.EHOSTUNREACH, text)


def _nothing() -> None:
    """Nobody waits for the end of a packet that began here."""


def _unwrap(msg: Message) -> Message:
    """The request that a forward request brings. FluxError EPROTO or EINVAL when it is none that can go."""
    found = FrameDecoder().feed(msg.raw or b"")
    if len(found) != 1 or found[0].type != MESSAGE_REQUEST:
        raise FluxError(errno.EPROTO, "the payload of ring.forward must be one request message in its framed form")
    inner = found[0]
    if inner.topic.startswith(_NOT_BY_RING):
        raise FluxError(errno.EINVAL, f"{inner.topic} cannot go by the ring: it is for clients of one broker")
    inner.flags, inner.matchtag = msg.flags, msg.matchtag
    inner.userid, inner.rolemask, inner.routes = msg.userid, msg.rolemask & ~ROLE_LOCAL, []
    return inner
