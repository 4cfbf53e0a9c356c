"""Flux messages as frames for UNIX stream sockets (RFC 3), without I/O: bytes in, messages out.

`encode_frame` and `encode_pieces` give what to send, `FrameDecoder` takes what was received. The frame's magic is in
host order, as stock Flux sends it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from flux.errors import ProtocolError
from flux.message import EVENT, Message, decode_parts, encode_parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Buffer = TypeVar("Buffer", bytes, memoryview)

__all__ = ["LARGE", "MAX_MESSAGE", "FrameDecoder", "encode_frame", "encode_pieces", "without"]

FRAME_MAGIC = (0xFFEE0012).to_bytes(4, "little")
FRAME_HEADER = 8
MAX_MESSAGE = (1 << 30) + (1 << 16)
"""Largest frame accepted, in bytes: a content blob of 1 GiB (RFC 10) and its envelope."""
LARGE = 32 << 10
"""From how many bytes on a payload, or what is missing of a frame, is worth a system call rather than a copy."""
_GROWTH = 32

_pack_long = struct.Struct(">BI").pack
_unpack_u32 = struct.Struct(">I").unpack_from


def encode_frame(msg: Message) -> bytes:
    """The message framed for a stream socket. Kept on events, which go to many links unchanged."""
    if msg.frame is not None:
        return msg.frame
    frame = b"".join(_framed(msg))
    if msg.type == EVENT:
        msg.frame = frame
    return frame


def encode_pieces(msg: Message) -> list[bytes]:
    """The message framed for a stream socket, in pieces to be sent one after the other: a large payload as it is."""
    raw = msg.raw
    if raw is None or len(raw) < LARGE:
        return [encode_frame(msg)]
    chunks = _framed(msg)
    return [b"".join(chunks[:-3]), raw, b"".join(chunks[-2:])]


def _framed(msg: Message) -> list[bytes]:
    """Frame header, then each part behind its length: the last four are of the payload, if any, and the header."""
    chunks = [FRAME_MAGIC, b""]
    size = 0
    for part in encode_parts(msg):
        n = len(part)
        if n < 255:
            chunks.append(bytes((n,)))
            size += n + 1
        else:
            chunks.append(_pack_long(255, n))
            size += n + 5
        chunks.append(part)
    chunks[1] = size.to_bytes(4, "big")
    return chunks


def without(pieces: Sequence[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """What is left of pieces to send after so many bytes of them."""
    for i, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:] if count else piece, *pieces[i + 1 :]]
        count -= len(piece)
    return []


class _LargeFrame:
    """A frame of which much is missing: what comes is received where it belongs.

    Args:
        begin: what there is of it.
        size: bytes of the whole frame, its header included.
    """

    __slots__ = ("_buffer", "_have", "_size")

    def __init__(self, begin: bytes, size: int) -> None:
        self._buffer = bytearray(begin)
        self._have = len(begin)
        self._size = size

    def space(self) -> memoryview:
        """Where the next bytes go: never more than there is reason to believe in, whatever size a client has said."""
        if self._have == len(self._buffer):
            grown = bytearray(min(self._size, max(LARGE, self._have * _GROWTH)))
            grown[: self._have] = self._buffer
            self._buffer = grown
        return memoryview(self._buffer)[self._have :]

    def filled(self, count: int) -> bool:
        """So many bytes have come; True when that was all."""
        self._have += count
        return self._have == self._size

    def parts(self) -> list[bytes]:
        return [bytes(part) for part in _split(memoryview(self._buffer), FRAME_HEADER, self._size)]

    def __len__(self) -> int:
        return self._have


class FrameDecoder:
    """Incremental decoder of the framed form; takes any chunking.

    Who reads a socket asks for `space` first: the rest of a large message is received there, and told by `filled`.

    Args:
        max_message: largest frame body accepted, in bytes; more is a ProtocolError.
    """

    __slots__ = ("_buffer", "_large", "_need", "max_message")

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._buffer = bytearray()
        self._large: _LargeFrame | None = None
        self._need = FRAME_HEADER
        self.max_message = max_message

    def space(self) -> memoryview | None:
        """Where to put what comes next; None when it is for `feed`."""
        return None if self._large is None else self._large.space()

    def filled(self, count: int) -> list[Message]:
        """The message that is complete now that so many bytes are in `space`, if it is; errors as of `feed`."""
        large = self._large
        if large is None or not large.filled(count):
            return []
        self._large = None
        return [decode_parts(large.parts())]

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by data, in order. After a ProtocolError the stream is lost: close it."""
        messages: list[Message] = []
        while data and (space := self.space()) is not None:
            count = min(len(space), len(data))
            space[:count] = data[:count]
            messages += self.filled(count)
            data = data[count:]
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return messages
            data = bytes(self._buffer)
            self._buffer.clear()
        pos, size = 0, len(data)
        self._need = FRAME_HEADER
        while size - pos >= FRAME_HEADER:
            if data[pos : pos + 4] != FRAME_MAGIC:
                raise ProtocolError(f"bad frame magic {data[pos : pos + 4].hex()}")
            length = _unpack_u32(data, pos + 4)[0]
            if length > self.max_message:
                raise ProtocolError(f"frame of {length} bytes is over the limit of {self.max_message}")
            end = pos + FRAME_HEADER + length
            if end > size:
                self._need = end - pos
                break
            messages.append(decode_parts(_split(data, pos + FRAME_HEADER, end)))
            pos = end
        if self._need - (size - pos) > LARGE:
            self._large = _LargeFrame(data[pos:], self._need)
        elif pos < size:
            self._buffer += data[pos:]
        return messages

    @property
    def pending(self) -> int:
        """Bytes held of a message that is not complete."""
        return len(self._buffer) if self._large is None else len(self._large)


def _split(data: Buffer, pos: int, end: int) -> list[Buffer]:
    parts: list[Buffer] = []
    while pos < end:
        n = data[pos]
        pos += 1
        if n == 255:
            if pos + 4 > end:
                raise ProtocolError("part length runs over the end of its frame")
            n = _unpack_u32(data, pos)[0]
            pos += 4
        stop = pos + n
        if stop > end:
            raise ProtocolError("part runs over the end of its frame")
        parts.append(data[pos:stop])
        pos = stop
    return parts
