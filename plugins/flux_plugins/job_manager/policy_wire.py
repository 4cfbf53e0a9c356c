"""What the job manager and the process of an isolated policy tell each other: MessagePack maps, each after its length.

To the process: load, call, notify, event, forget, service, found. From it: loaded, result, error, do, ask, serve.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from flux.hooks.jobtap import UNAVAILABLE, Allowed

__all__ = ["JOB_FIELDS", "Frames", "frame", "pack_result", "unpack_result"]

JOB_FIELDS = (
    "id",
    "userid",
    "flags",
    "urgency",
    "priority",
    "state",
    "t_submit",
    "R",
    "annotations",
    "started",
    "status",
    "result",
    "end_event",
    "perilogs",
)
"""Attributes of `flux.hooks.jobtap.Job` that travel as they are; jobspec and dependencies beside them."""

_LENGTH = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def frame(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the socket. TypeError when it holds what has no JSON form."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes a byte stream apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete with these bytes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield _decode(body)


def pack_result(result: Any) -> dict[str, Any]:
    """What a hook returned, as part of a message."""
    if result is UNAVAILABLE:
        return {"unavailable": True}
    if isinstance(result, Allowed):
        return {"allowed": list(result)}
    return {"value": result}


def unpack_result(message: Mapping[str, Any]) -> Any:
    """What a hook returned, out of a message."""
    if "unavailable" in message:
        return UNAVAILABLE
    if "allowed" in message:
        return Allowed(*message["allowed"])
    return message.get("value")
