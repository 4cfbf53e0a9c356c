"""Flux messages (RFC 3), without I/O: bytes in, messages out.

A `Message` keeps its payload in the form it arrived in, an object or bytes, and converts
it once and only when asked. `encode_parts` and `decode_parts` are the multipart form for ZeroMQ,
`flux.frames` has the form for UNIX stream sockets. The bytes are those that stock Flux sends: topics and
routes without NUL.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from flux import jsontext
from flux.errors import FluxError, ProtocolError

TYPE_CHECKING = False  # typing takes longer to import than the rest of what this needs
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = [
    "ANY",
    "CONTROL",
    "EVENT",
    "REQUEST",
    "RESPONSE",
    "Message",
    "decode_parts",
    "encode_parts",
    "msg_typestr",
]

REQUEST, RESPONSE, EVENT, CONTROL = 1, 2, 4, 8
ANY = REQUEST | RESPONSE | EVENT | CONTROL

FLAG_TOPIC, FLAG_PAYLOAD, FLAG_NORESPONSE, FLAG_ROUTE = 0x01, 0x02, 0x04, 0x08
FLAG_UPSTREAM, FLAG_PRIVATE, FLAG_STREAMING, FLAG_USER1 = 0x10, 0x20, 0x40, 0x80
_STRUCTURE = FLAG_TOPIC | FLAG_PAYLOAD | FLAG_ROUTE

USERID_UNKNOWN = 0xFFFFFFFF
NODEID_ANY = 0xFFFFFFFF
NODEID_UPSTREAM = 0xFFFFFFFE
ROLE_OWNER, ROLE_USER, ROLE_LOCAL, ROLE_ADMIN = 1, 2, 4, 8

PROTO_MAGIC, PROTO_VERSION, PROTO_SIZE = 0x8E, 1, 20

_pack_proto = struct.Struct(">BBBBIIII").pack
_unpack_proto = struct.Struct(">BBBBIIII").unpack


_TYPE_NAMES = {REQUEST: "request", RESPONSE: "response", EVENT: "event", CONTROL: "control"}


class Message:
    """One Flux message.

    Attributes:
        type: REQUEST, RESPONSE, EVENT or CONTROL.
        flags: RFC 3 flags without the three structural ones (topic, payload, route).
        userid, rolemask: the credential (RFC 12); (0xffffffff, 0) until a broker stamps it.
        aux: nodeid (request), errnum (response), sequence (event) or type (control).
        matchtag: matchtag (request, response) or status (control).
        topic: topic string; "" for control messages.
        routes: the route stack, oldest hop (the sender) first; None when there is no delimiter.
        frame: the bytes of an event for a stream socket, once `flux.frames` has made them; else None.

    A payload object received from another module of the same broker is that module's own
    object: treat it as read-only.
    """

    __slots__ = (
        "_obj",
        "_raw",
        "aux",
        "flags",
        "frame",
        "matchtag",
        "rolemask",
        "routes",
        "topic",
        "type",
        "userid",
    )

    def __init__(
        self,
        type: int,
        topic: str = "",
        payload: Any = None,
        *,
        flags: int = 0,
        userid: int = USERID_UNKNOWN,
        rolemask: int = 0,
        aux: int = 0,
        matchtag: int = 0,
        routes: list[str] | None = None,
    ) -> None:
        self.type = type
        self.topic = topic
        self.flags = flags
        self.userid = userid
        self.rolemask = rolemask
        self.aux = aux
        self.matchtag = matchtag
        self.routes = routes
        self.frame: bytes | None = None
        self._obj: Any = None
        self._raw: bytes | None = None
        if payload is not None:
            self._set_payload(payload)

    def _set_payload(self, payload: Any) -> None:
        if isinstance(payload, str):
            self._raw = payload.encode() + b"\0"
        elif isinstance(payload, (bytes, bytearray, memoryview)):
            self._raw = bytes(payload)
        else:
            self._obj = payload

    @classmethod
    def from_event_encode(cls, topic: str, payload: Any = None) -> Message:
        """An event to publish (flux.message in the manual); payload None, str, bytes or object."""
        return cls(EVENT, topic, payload)

    @property
    def nodeid(self) -> int:
        return self.aux

    @property
    def errnum(self) -> int:
        return self.aux

    @property
    def sequence(self) -> int:
        return self.aux

    @property
    def type_str(self) -> str:
        return msg_typestr(self.type)

    @property
    def is_streaming(self) -> bool:
        return bool(self.flags & FLAG_STREAMING)

    @property
    def noresponse(self) -> bool:
        return bool(self.flags & FLAG_NORESPONSE)

    @property
    def has_payload(self) -> bool:
        return self._obj is not None or self._raw is not None

    @property
    def payload(self) -> Any:
        """The payload as a JSON object (dict), or None. ProtocolError when it is something else."""
        if self._obj is None and self._raw is not None:
            self._obj = _decode_json(self._raw)
        return self._obj

    @property
    def raw(self) -> bytes | None:
        """The payload as the bytes that go on the wire, with the final NUL of strings and JSON; or None."""
        if self._raw is None and self._obj is not None:
            self._raw = _encode_json(self._obj)
        return self._raw

    @property
    def payload_str(self) -> str | None:
        """The payload as a string, without its NUL; or None. ProtocolError when it is no string."""
        raw = self.raw
        if raw is None:
            return None
        try:
            return raw.removesuffix(b"\0").decode()
        except UnicodeDecodeError as exc:
            raise ProtocolError(f"payload of {self.topic} is not UTF-8 text: {exc}") from None

    def decode(self, type: type[T]) -> T:
        """The payload as a struct type. ProtocolError (EPROTO) names the field that does not fit."""
        import msgspec

        try:
            if self._obj is not None:
                return msgspec.convert(self._obj, type)
            return msgspec.json.decode((self._raw or b"{}").removesuffix(b"\0"), type=type)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise ProtocolError(f"invalid payload: {exc}") from None

    def respond(self, payload: Any = None, *, errnum: int = 0, flags: int = 0) -> Message:
        """The response to this request: same topic, routes and matchtag (RFC 6)."""
        return Message(
            RESPONSE,
            self.topic,
            payload,
            flags=flags | (self.flags & FLAG_STREAMING),
            aux=errnum,
            matchtag=self.matchtag,
            routes=list(self.routes or ()),
        )

    def copy(self) -> Message:
        """A copy with a route stack of its own; the payload is shared."""
        new = Message.__new__(Message)
        new.type, new.topic, new.flags = self.type, self.topic, self.flags
        new.userid, new.rolemask = self.userid, self.rolemask
        new.aux, new.matchtag = self.aux, self.matchtag
        new.routes = None if self.routes is None else list(self.routes)
        new._obj, new._raw, new.frame = self._obj, self._raw, None
        return new

    @property
    def sender(self) -> str:
        """Uuid of the client that sent this request (RFC 6); "" before the first hop."""
        return self.routes[0] if self.routes else ""

    @property
    def error(self) -> FluxError:
        """The error that a response with non-zero errnum carries."""
        return FluxError(self.aux, (self.payload_str or "") if self._raw is not None else "", self.topic)

    def __repr__(self) -> str:
        return (
            f"<Message {self.type_str} {self.topic!r} aux={self.aux} tag={self.matchtag} "
            f"flags={self.flags:#x} user={self.userid}/{self.rolemask:#x} routes={self.routes}>"
        )


def _decode_json(raw: bytes) -> Any:
    try:
        obj = jsontext.decode(raw[:-1] if raw[-1:] == b"\0" else raw)
    except jsontext.errors() as exc:
        raise ProtocolError(f"payload is not JSON: {exc}") from None
    if not isinstance(obj, dict):
        raise ProtocolError(f"JSON payload must be an object, not {type(obj).__name__}")
    return obj


def _encode_json(obj: Any) -> bytes:
    try:
        return jsontext.encode(obj) + b"\0"
    except jsontext.errors() as exc:
        raise ProtocolError(f"payload cannot be written as JSON: {exc}") from None


def _header(msg: Message, structure: int) -> bytes:
    return _pack_proto(
        PROTO_MAGIC,
        PROTO_VERSION,
        msg.type,
        msg.flags | structure,
        msg.userid,
        msg.rolemask,
        msg.aux,
        msg.matchtag,
    )


def encode_parts(msg: Message) -> list[bytes]:
    """The message as its parts (RFC 3): routes (newest first), delimiter, topic, payload, header."""
    parts: list[bytes] = []
    structure = 0
    if msg.routes is not None:
        structure = FLAG_ROUTE
        parts.extend(route.encode() for route in reversed(msg.routes))
        parts.append(b"")
    if msg.type != CONTROL:
        structure |= FLAG_TOPIC
        parts.append(msg.topic.encode())
    raw = msg.raw
    if raw is not None:
        structure |= FLAG_PAYLOAD
        parts.append(raw)
    parts.append(_header(msg, structure))
    return parts


def decode_parts(parts: Sequence[bytes]) -> Message:
    """Parts to message. ProtocolError says what is malformed."""
    if not parts or len(parts[-1]) != PROTO_SIZE:
        raise ProtocolError(f"last part is not a {PROTO_SIZE}-byte header")
    magic, version, type, flags, userid, rolemask, aux, matchtag = _unpack_proto(parts[-1])
    if magic != PROTO_MAGIC or version != PROTO_VERSION:
        raise ProtocolError(f"bad header magic {magic:#x} or version {version}")
    if type not in _TYPE_NAMES:
        raise ProtocolError(f"unknown message type {type}")
    msg = Message.__new__(Message)
    msg.type, msg.flags = type, flags & ~_STRUCTURE
    msg.userid, msg.rolemask, msg.aux, msg.matchtag = userid, rolemask, aux, matchtag
    msg.topic, msg.routes = "", None
    msg.frame = msg._obj = msg._raw = None
    last = len(parts) - 1
    i = 0
    try:
        if flags & FLAG_ROUTE:
            i = parts.index(b"", 0, last) + 1
            msg.routes = [_text(part) for part in reversed(parts[: i - 1])]
        if flags & FLAG_TOPIC:
            msg.topic = _text(parts[i])
            i += 1
        if flags & FLAG_PAYLOAD:
            if i >= last:
                raise ProtocolError("payload part is missing")
            msg._raw = parts[i]
            i += 1
    except ValueError as exc:
        what = "a topic or route is not UTF-8" if isinstance(exc, UnicodeDecodeError) else "route delimiter is missing"
        raise ProtocolError(what) from None
    if i != last:
        raise ProtocolError(f"{last} parts do not fit flags {flags:#x}")
    _check_shape(msg)
    return msg


def _check_shape(msg: Message) -> None:
    if msg.type == CONTROL:
        if msg.topic or msg._raw is not None:
            raise ProtocolError("a control message has neither topic nor payload")
    elif not msg.topic:
        raise ProtocolError(f"a {_TYPE_NAMES[msg.type]} needs a topic")
    if msg.routes is None and msg.type in (REQUEST, RESPONSE):
        raise ProtocolError(f"a {_TYPE_NAMES[msg.type]} needs a route delimiter")


def _text(part: bytes) -> str:
    text = part.decode()
    nul = text.find("\0")
    return text if nul < 0 else text[:nul]


def msg_typestr(msg_type: int) -> str:
    """Name of a message type, or of a mask of them joined by "|"."""
    names: Iterable[str] = (name for bit, name in _TYPE_NAMES.items() if msg_type & bit)
    return "|".join(names) or "unknown"


def __getattr__(name: str) -> Any:
    if name == "MessageWatcher":
        from flux.core.watchers import MessageWatcher

        return MessageWatcher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
