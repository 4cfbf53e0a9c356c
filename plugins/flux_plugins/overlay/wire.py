"""Messages as the frames of overlay sockets (RFC 3 over ZeroMQ), and back. Pure.

On these sockets every message has the route delimiter, because a ROUTER socket adds and removes
an identity frame in front of it. Between switch and wire the route stack differs by the hop that the sockets themselves
stand for; these functions make up for it, so that the switch sees one rule for all links: it pushes a
link's uuid on each request that comes in, and pops one route to send a response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flux.errors import ProtocolError
from flux.message import CONTROL, EVENT, REQUEST, RESPONSE, ROLE_LOCAL, Message, decode_parts, encode_parts

__all__ = [
    "CONTROL_DISCONNECT",
    "CONTROL_HEARTBEAT",
    "CONTROL_STATUS",
    "EventFrames",
    "control",
    "from_child",
    "from_parent",
    "response",
    "to_child",
    "to_parent",
]

CONTROL_HEARTBEAT, CONTROL_STATUS, CONTROL_DISCONNECT = 0, 1, 2


def control(type: int, status: int = 0) -> Message:
    """A control message between peers; both numbers are those of its header."""
    return Message(CONTROL, aux=type, matchtag=status, routes=[])


def response(request: Message, payload: Any = None, *, errnum: int = 0) -> Message:
    """The answer to a hello or goodbye: it goes no further than the peer, so it has no routes and no credential."""
    answer = request.respond(payload, errnum=errnum)
    answer.routes = []
    return answer


class EventFrames:
    """The frames of an event, kept while it goes out to one child after the other."""

    __slots__ = ("_frames", "_msg")

    def __init__(self) -> None:
        self._msg: Message | None = None
        self._frames: list[bytes] = []

    def get(self, msg: Message) -> list[bytes]:
        if msg is not self._msg:
            self._msg, self._frames = msg, _bare_frames(msg)
        return self._frames


def _bare_frames(msg: Message) -> list[bytes]:
    bare = msg.copy()
    bare.routes = []
    return encode_parts(bare)


def to_child(msg: Message, own_uuid: bytes) -> list[bytes]:
    """Frames for a child, without the identity: requests carry us as their newest hop."""
    if msg.type == REQUEST:
        return [own_uuid, *encode_parts(msg)]
    if msg.type == RESPONSE:
        return encode_parts(msg)
    return _bare_frames(msg)


def to_parent(msg: Message, parent_uuid: bytes) -> list[bytes]:
    """Frames for the parent: responses go to the parent first, whose route the switch has popped."""
    if msg.type == RESPONSE:
        return [parent_uuid, *encode_parts(msg)]
    if msg.type == REQUEST:
        return encode_parts(msg)
    return _bare_frames(msg)


def from_child(frames: Sequence[bytes], own_uuid: str) -> Message:
    """Message of a child, from its frames without the identity. ProtocolError when they make none."""
    msg = _decode(frames)
    if msg.type == RESPONSE:
        _strip(msg, own_uuid)
    return msg


def from_parent(frames: Sequence[bytes], parent_uuid: str) -> Message:
    """Message of the parent. ProtocolError when the frames make none."""
    msg = _decode(frames)
    if msg.type == REQUEST:
        _strip(msg, parent_uuid)
    return msg


def _decode(frames: Sequence[bytes]) -> Message:
    msg = decode_parts(frames)
    # the sender was local to the peer, not to us (RFC 12)
    msg.rolemask &= ~ROLE_LOCAL
    if msg.type == EVENT:
        msg.routes = None
    return msg


def _strip(msg: Message, uuid: str) -> None:
    if not msg.routes or msg.routes[-1] != uuid:
        raise ProtocolError(f"newest route of {msg.type_str} {msg.topic} is not broker {uuid}")
    msg.routes.pop()
