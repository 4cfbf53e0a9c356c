"""J, the envelope of a jobspec: what clients send must be read, and what is broken must be refused with a reason."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.job.signed import decode
from flux.job.submit import wrap_unsigned
from flux_plugins.job_ingest.validate import redacted


@given(st.binary(max_size=200), st.integers(0, 2**31 - 1))
def test_what_the_client_wraps_is_unwrapped(payload: bytes, userid: int) -> None:
    signed = decode(wrap_unsigned(payload, userid))
    assert (signed.payload, signed.userid, signed.mechanism) == (payload, userid, "none")


def test_the_header_that_stock_clients_send_is_read() -> None:
    assert decode("dmVyc2lvbgBpMQB1c2VyaWQAaTAAbWVjaGFuaXNtAHNub25lAA==.e30=.none").userid == 0


def test_the_order_of_header_keys_does_not_matter() -> None:
    header = base64.b64encode(b"mechanism\0snone\0userid\0i7\0version\0i1\0").decode()
    assert decode(f"{header}.e30=.none").userid == 7


def envelope(header: bytes, payload: str = "e30=", signature: str = "none") -> str:
    return f"{base64.b64encode(header).decode()}.{payload}.{signature}"


GOOD = b"version\0i1\0userid\0i0\0mechanism\0snone\0"


@pytest.mark.parametrize(
    ("J", "reason"),
    [
        ("", "1 parts"),
        ("a.b", "2 parts"),
        (envelope(GOOD, payload="***"), "payload is not base64"),
        ("***.e30=.none", "header is not base64"),
        (envelope(GOOD[:-1]), "cut off"),
        (envelope(GOOD + b"extra\0i1\0"), "not version, userid and mechanism"),
        (envelope(b"version\0i1\0userid\0i0\0"), "not version, userid and mechanism"),
        (envelope(GOOD.replace(b"i1", b"i2")), "not version 1"),
        (envelope(GOOD.replace(b"i0", b"x0")), "has the value 'x0'"),
        (envelope(GOOD.replace(b"none", b"other")), "unknown mechanism other: none, munge, curve are known"),
        (envelope(GOOD.replace(b"none", b"curve")), "not version, userid, mechanism and curve.time"),
        (envelope(GOOD, signature="forged"), "takes no signature"),
        (envelope(b"\xff\0i1\0"), "not text"),
    ],
)
def test_what_is_broken_is_refused_with_the_reason(J: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(J)


@given(st.text(max_size=60))
def test_any_text_is_decoded_or_refused(J: str) -> None:
    try:
        decode(J)
    except ValueError as exc:
        assert str(exc)


def test_the_environment_is_not_stored() -> None:
    jobspec = {"attributes": {"system": {"environment": {"SECRET": "x"}, "cwd": "/"}}, "version": 1}
    assert redacted(jobspec) == {"attributes": {"system": {"cwd": "/"}}, "version": 1}
    assert "environment" in jobspec["attributes"]["system"]
