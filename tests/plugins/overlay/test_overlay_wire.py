"""What goes over overlay sockets: stock brokers must be able to read it, and routes must come out right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import ProtocolError
from flux.message import (
    CONTROL,
    EVENT,
    FLAG_ROUTE,
    REQUEST,
    RESPONSE,
    ROLE_LOCAL,
    ROLE_OWNER,
    Message,
    decode_parts,
)
from flux_plugins.overlay import wire

PARENT, CHILD, CLIENT = (f"{c * 8}-0000-4000-8000-{c * 12}" for c in "abc")


def test_request_down_carries_the_parent_as_newest_hop() -> None:
    msg = Message(REQUEST, "a.b", {"x": 1}, aux=3, matchtag=7, routes=[CLIENT], rolemask=ROLE_OWNER | ROLE_LOCAL)
    frames = wire.to_child(msg, PARENT.encode())
    assert frames[:4] == [PARENT.encode(), CLIENT.encode(), b"", b"a.b"]
    got = wire.from_parent(frames, PARENT)
    assert got.routes == [CLIENT]
    assert msg.routes == [CLIENT]
    assert (got.aux, got.matchtag, got.payload) == (3, 7, {"x": 1})
    assert got.rolemask == ROLE_OWNER


def test_response_up_goes_to_the_parent_first() -> None:
    msg = Message(RESPONSE, "a.b", {"x": 1}, matchtag=7, routes=[CLIENT])
    frames = wire.to_parent(msg, PARENT.encode())
    assert frames[:3] == [PARENT.encode(), CLIENT.encode(), b""]
    assert wire.from_child(frames, PARENT).routes == [CLIENT]


def test_request_up_and_response_down_go_as_they_are() -> None:
    request = Message(REQUEST, "a.b", routes=[CLIENT])
    frames = wire.to_parent(request, PARENT.encode())
    assert wire.from_child(frames, PARENT).routes == [CLIENT]
    response = Message(RESPONSE, "a.b", routes=[CLIENT])
    assert wire.from_parent(wire.to_child(response, PARENT.encode()), PARENT).routes == [CLIENT]


@pytest.mark.parametrize("msg", [Message(EVENT, "hb", aux=5), wire.control(wire.CONTROL_STATUS, 2)])
def test_events_and_control_have_a_delimiter_but_no_routes(msg: Message) -> None:
    for frames in (wire.to_child(msg, PARENT.encode()), wire.to_parent(msg, PARENT.encode())):
        assert frames[0] == b""
        assert frames[-1][3] & FLAG_ROUTE
        got = decode_parts(frames)
        assert (got.type, got.aux, got.matchtag) == (msg.type, msg.aux, msg.matchtag)


def test_event_frames_are_made_once_and_stale_routes_left_out() -> None:
    frames = wire.EventFrames()
    event = Message(EVENT, "hb", {"n": 1}, aux=5, routes=[CLIENT])
    first = frames.get(event)
    assert frames.get(event) is first
    assert first[0] == b""
    assert event.routes == [CLIENT]
    assert wire.from_parent(first, PARENT).routes is None
    assert frames.get(Message(EVENT, "hb", aux=6)) is not first


@pytest.mark.parametrize("routes", [[], [CHILD], [PARENT, CLIENT]])
def test_a_response_that_was_not_for_us_is_malformed(routes: list[str]) -> None:
    frames = wire.to_child(Message(RESPONSE, "a.b", routes=routes), b"")
    with pytest.raises(ProtocolError, match="newest route"):
        wire.from_child(frames, PARENT)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_arbitrary_frames_are_refused_or_decoded(frames: list[bytes]) -> None:
    for decode in (wire.from_child, wire.from_parent):
        try:
            msg = decode(frames, PARENT)
        except ProtocolError as exc:
            assert str(exc)
        else:
            assert msg.type in (REQUEST, RESPONSE, EVENT, CONTROL)
