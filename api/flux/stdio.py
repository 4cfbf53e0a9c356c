"""Chunks of standard I/O as JSON objects: RFC 24 data events, and the io objects of RFC 42."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

from flux.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Chunk", "decode_io", "encode_io"]


class Chunk:
    """Part of a stream.

    Attributes:
        stream: "stdin", "stdout", "stderr" or the name of a channel.
        rank: task rank, RFC 22 idset of task ranks, or "all".
        data: bytes; b"" when the object has none.
        eof: True when the stream ends here.
    """

    __slots__ = ("data", "eof", "rank", "stream")

    def __init__(self, stream: str, rank: str, data: bytes, eof: bool) -> None:
        self.stream = stream
        self.rank = rank
        self.data = data
        self.eof = eof


def encode_io(stream: str, rank: str, data: bytes = b"", eof: bool = False) -> dict[str, Any]:
    """The JSON object of a chunk: text as it is, other bytes in base64."""
    obj: dict[str, Any] = {"stream": stream, "rank": rank}
    if data:
        text = _text_of(data)
        if text is None:
            obj["encoding"] = "base64"
            text = binascii.b2a_base64(data, newline=False).decode()
        obj["data"] = text
    if eof:
        obj["eof"] = True
    return obj


def _text_of(data: bytes) -> str | None:
    """The characters of data; None for what is no text. A NUL is none: JSON writes it with six characters."""
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def decode_io(obj: Mapping[str, Any]) -> Chunk:
    """The chunk in a JSON object. ProtocolError (EPROTO) when it is malformed.

    The string "true" is taken for `eof` as well, which is how the RFC's example spells it.
    """
    stream, rank, text = obj.get("stream"), obj.get("rank"), obj.get("data", "")
    if not isinstance(stream, str) or not isinstance(rank, str) or not isinstance(text, str):
        raise ProtocolError("an io object needs the strings `stream` and `rank`, and `data` as a string")
    return Chunk(stream, rank, _decode_data(text, obj.get("encoding", "UTF-8")), obj.get("eof") in (True, "true"))


def _decode_data(text: str, encoding: object) -> bytes:
    if encoding == "UTF-8":
        return text.encode()
    if encoding != "base64":
        raise ProtocolError(f"io encoding {encoding!r} is neither UTF-8 nor base64")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as exc:
        raise ProtocolError(f"io data is not base64: {exc}") from None
