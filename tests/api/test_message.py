"""A message that changes on its way, or bytes that bring a broker down, would cost users everything."""

from __future__ import annotations

import random
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import ProtocolError
from flux.frames import FRAME_MAGIC, LARGE, FrameDecoder, encode_frame, encode_pieces
from flux.message import CONTROL, EVENT, REQUEST, RESPONSE, Message, decode_parts, encode_parts

u32 = st.integers(0, 0xFFFFFFFF)
texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=300)
uuids = st.uuids().map(str)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
payloads = st.none() | st.dictionaries(st.text(max_size=9), json_values) | st.binary(max_size=600) | texts


@st.composite
def messages(draw: st.DrawFn) -> Message:
    type = draw(st.sampled_from([REQUEST, RESPONSE, EVENT, CONTROL]))
    routes = draw(st.lists(uuids, max_size=4)) if type in (REQUEST, RESPONSE) else None
    plain = type == CONTROL
    return Message(
        type,
        "" if plain else draw(texts),
        None if plain else draw(payloads),
        flags=draw(st.sampled_from([0, 4, 0x10, 0x20, 0x40, 0x80, 0xF4])),
        userid=draw(u32),
        rolemask=draw(u32),
        aux=draw(u32),
        matchtag=draw(u32),
        routes=routes,
    )


def fields(msg: Message) -> tuple[object, ...]:
    envelope = (msg.type, msg.topic, msg.flags, msg.userid, msg.rolemask, msg.aux, msg.matchtag, msg.routes)
    return (*envelope, msg.raw)


@given(messages())
def test_multipart_form_keeps_everything(msg: Message) -> None:
    assert fields(decode_parts(encode_parts(msg))) == fields(msg)


@given(st.lists(messages(), min_size=1, max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_framed_form_takes_any_chunking(sent: list[Message], sizes: list[int]) -> None:
    data = b"".join(map(encode_frame, sent))
    decoder = FrameDecoder()
    received: list[Message] = []
    pos = turn = 0
    while pos < len(data):
        size = sizes[turn % len(sizes)]
        received += decoder.feed(data[pos : pos + size])
        pos, turn = pos + size, turn + 1
    assert [fields(msg) for msg in received] == [fields(msg) for msg in sent]
    assert decoder.pending == 0


@pytest.mark.parametrize("chunk", [1000, 65536, 1 << 20, 10 << 20])
@pytest.mark.parametrize("received", [True, False], ids=["in its place", "fed"])
def test_large_messages_come_whole_among_small_ones(chunk: int, received: bool) -> None:
    sizes = [10, LARGE - 1, LARGE, 1 << 20, 0, 3 << 20, 7]
    sent = [Message(RESPONSE, "a.b", random.randbytes(size), matchtag=size, routes=["r"]) for size in sizes]
    assert [b"".join(encode_pieces(msg)) for msg in sent] == [encode_frame(msg) for msg in sent]
    data, decoder, found = memoryview(b"".join(map(encode_frame, sent))), FrameDecoder(), []
    while data:
        space = decoder.space() if received else None
        count = min(chunk, len(data), chunk if space is None else len(space))
        if space is None:
            found += decoder.feed(bytes(data[:count]))
        else:
            space[:count] = data[:count]
            found += decoder.filled(count)
        data = data[count:]
    assert [fields(msg) for msg in found] == [fields(msg) for msg in sent]
    assert decoder.pending == 0


def test_a_claim_to_be_large_costs_no_memory_before_it_comes_true() -> None:
    decoder = FrameDecoder()
    assert not decoder.feed(FRAME_MAGIC + (1 << 30).to_bytes(4, "big"))
    space = decoder.space()
    assert space is not None
    assert len(space) <= LARGE


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_or_waited_for(data: bytes) -> None:
    try:
        FrameDecoder().feed(data)
    except ProtocolError as exc:
        assert str(exc)


@given(messages(), st.data())
def test_flipped_bytes_never_raise_anything_else(msg: Message, data: st.DataObject) -> None:
    frame = bytearray(encode_frame(msg))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        for decoded in FrameDecoder(1 << 20).feed(bytes(frame)):
            _ = decoded.payload
    except ProtocolError as exc:
        assert exc.errno == 71


def test_frame_is_what_stock_flux_sends() -> None:
    msg = Message(REQUEST, "attr.get", {"name": "size"}, aux=0xFFFFFFFF, matchtag=1, routes=[])
    header = bytes.fromhex("8e01010b ffffffff 00000000 ffffffff 00000001")
    body = b"\0" + b"\x08attr.get" + b"\x10" + b'{"name":"size"}\0' + b"\x14" + header
    assert encode_frame(msg) == bytes.fromhex("1200eeff") + struct.pack(">I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xee\x00\x12" + b"\0" * 8, "magic"),
        (bytes.fromhex("1200eeff") + b"\xff\xff\xff\xff", "over the limit"),
        (bytes.fromhex("1200eeff 00000003") + b"\x05ab", "over the end"),
        (bytes.fromhex("1200eeff 00000003") + b"\xff\0\0", "over the end"),
        (bytes.fromhex("1200eeff 00000001") + b"\0", "20-byte header"),
    ],
)
def test_bad_frames_say_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        FrameDecoder().feed(data)


def header(type: int = REQUEST, flags: int = 0, magic: int = 0x8E, version: int = 1) -> bytes:
    return struct.pack(">BBBBIIII", magic, version, type, flags, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "20-byte header"),
        ([header(magic=0x8F)], "magic"),
        ([header(version=2)], "version"),
        ([header(type=3)], "type"),
        ([b"topic", header(flags=9)], "delimiter"),
        ([b"topic", header(flags=1)], "delimiter"),
        ([b"", header(flags=8)], "topic"),
        ([b"", b"\xff\xfe", header(flags=9)], "UTF-8"),
        ([b"", b"a.b", header(flags=0xB)], "payload part is missing"),
        ([b"", b"a.b", b"x", b"y", header(flags=0xB)], "do not fit"),
        ([b"x", header(type=CONTROL, flags=1)], "control"),
    ],
)
def test_bad_parts_say_what_is_wrong(parts: list[bytes], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        decode_parts(parts)


@pytest.mark.parametrize("raw", [b'{"a": 1', b"[1]\0", b"3\0", b"\xff\0", b"", b"nonsense\0", b'{"a":' * 99999])
def test_a_payload_that_is_no_json_object_is_a_protocol_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        _ = Message(REQUEST, "a.b", raw, routes=[]).payload


def test_payload_is_converted_once() -> None:
    decoded = decode_parts(encode_parts(Message(REQUEST, "a.b", {"x": [1]}, routes=[])))
    assert decoded.payload is decoded.payload
    payload = {"x": 1}
    assert Message(REQUEST, "a.b", payload, routes=[]).payload is payload


def test_nul_terminated_topics_and_routes_are_read_too() -> None:
    parts = [b"9d0b2f32\0", b"", b"a.b\0", header(flags=9)]
    msg = decode_parts(parts)
    assert (msg.topic, msg.routes) == ("a.b", ["9d0b2f32"])


def test_a_payload_type_of_what_is_no_text_is_a_protocol_error() -> None:
    class Named(msgspec.Struct):
        name: str

    with pytest.raises(ProtocolError, match="invalid payload"):
        Message(REQUEST, "x", b'{"\xb7": 1}').decode(Named)
