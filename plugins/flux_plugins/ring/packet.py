"""What travels round the ring: a message of RFC 3 with a label in front. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flux.errors import ProtocolError
from flux.message import Message, decode_parts, encode_parts

__all__ = ["DISCONNECT", "LOST", "REQUEST", "RESPONSE", "Packet", "decode_message", "decode_packet", "encode_packet"]

REQUEST, RESPONSE, DISCONNECT, LOST = "request", "response", "disconnect", "lost"


class Packet(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The label of what is sent from one rank to another.

    Attributes:
        kind: REQUEST and RESPONSE come with a message; DISCONNECT says that a client has gone; LOST that `ranks` were
            left out, it goes to everyone and ends where it began.
        origin, target: rank that sent it, rank that it is for.
        epoch: the sender's ring module, from its start to its end. number: counts what that one has sent.
        hops: connections it has gone over.
        client: at the rank of the client, who asks and is answered; "" for LOST.
        ranks: that were lost.
    """

    kind: str
    origin: int
    target: int
    epoch: str
    number: int
    hops: int = 0
    client: str = ""
    ranks: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packet).decode


def encode_packet(packet: Packet, msg: Message | None) -> list[bytes]:
    """The frames of a packet, with the message that it carries."""
    return [_encode(packet), *(encode_parts(msg) if msg is not None else ())]


def decode_packet(frames: Sequence[bytes]) -> tuple[Packet, list[bytes]]:
    """Frames to the label and the frames of the message. ProtocolError when there is no label."""
    try:
        return _decode(frames[0]), list(frames[1:])
    except (msgspec.MsgspecError, IndexError) as exc:
        raise ProtocolError(f"malformed packet in the ring: {exc}") from None


def decode_message(frames: Sequence[bytes]) -> Message:
    """The message that a packet carries, without a way of its own. ProtocolError when it is none."""
    msg = decode_parts(frames)
    msg.routes = []
    return msg
