"""Chunks of standard I/O survive the way through JSON (RFC 24, 42)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import ProtocolError
from flux.stdio import decode_io, encode_io


@given(st.binary(), st.booleans())
def test_any_bytes_survive(data: bytes, eof: bool) -> None:
    obj = json.loads(json.dumps(encode_io("stdout", "3", data, eof)))
    chunk = decode_io(obj)
    assert (chunk.stream, chunk.rank, chunk.data, chunk.eof) == ("stdout", "3", data, eof)


def test_text_stays_text_and_eof_is_a_boolean() -> None:
    assert encode_io("stderr", "0", "é\n".encode()) == {"stream": "stderr", "rank": "0", "data": "é\n"}
    assert encode_io("stderr", "0", eof=True) == {"stream": "stderr", "rank": "0", "eof": True}
    assert encode_io("stderr", "0", b"\xff")["encoding"] == "base64"


def test_eof_spelt_as_in_the_rfc_example() -> None:
    assert decode_io({"stream": "stdout", "rank": "31", "data": "x", "eof": "true"}).eof


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"stream": "stdout", "rank": 3},
        {"stream": "stdout", "rank": "0", "data": 5},
        {"stream": "stdout", "rank": "0", "data": "x", "encoding": "rot13"},
        {"stream": "stdout", "rank": "0", "data": "!", "encoding": "base64"},
    ],
)
def test_malformed_objects_are_refused(obj: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_io(obj)
