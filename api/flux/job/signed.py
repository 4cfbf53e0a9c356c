"""What somebody signed (RFC 39): HEADER.PAYLOAD.SIGNATURE, "none" in place of one for mechanism "none".

J, the signed jobspec (RFC 15), is of this form, and so are signed requests to a subprocess server (RFC 42).

The header is a list of NUL-terminated words, key and value in turn, a value beginning with its type: i for an
integer, s for a string. Header and payload are base64.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

__all__ = ["Signed", "decode"]

_KEYS = ["version", "userid", "mechanism"]
_KEYS_OF = {"none": _KEYS, "munge": _KEYS, "curve": [*_KEYS, "curve.time"]}
"""Keys of the header, by mechanism."""


class Signed(NamedTuple):
    """What such a text holds.

    Attributes:
        payload: a jobspec or a request as JSON text.
        signed: what the signature is of.
        time: when it says that it was signed, in seconds since the epoch; 0 when it does not.
    """

    userid: int
    mechanism: str
    payload: bytes
    signed: bytes
    signature: str
    time: int = 0


def decode(text: str) -> Signed:
    """Take it apart. ValueError says what is wrong with it."""
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError(f"it has {len(parts)} parts, not 3")
    header = _header(_base64(parts[0], "header"))
    userid, mechanism, made = header["userid"], header["mechanism"], header.get("curve.time", 0)
    if header["version"] != 1 or not isinstance(userid, int) or not isinstance(mechanism, str):
        raise ValueError("its header is not version 1")
    if mechanism not in _KEYS_OF:
        raise ValueError(f"unknown mechanism {mechanism}: {', '.join(_KEYS_OF)} are known")
    if header.keys() != set(_KEYS_OF[mechanism]) or not isinstance(made, int):
        raise _other_keys(_KEYS_OF[mechanism])
    if mechanism == "none" and parts[2] != "none":
        raise ValueError("mechanism none takes no signature")
    signed = text[: len(parts[0]) + 1 + len(parts[1])].encode()
    return Signed(userid, mechanism, _base64(parts[1], "payload"), signed, parts[2], made)


def _base64(text: str, what: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"its {what} is not base64") from None


def _header(data: bytes) -> dict[str, int | str]:
    words = data.split(b"\0")
    if words.pop() != b"" or len(words) % 2:
        raise ValueError("its header is cut off")
    header = {_text(key): _value(_text(value)) for key, value in zip(words[::2], words[1::2], strict=True)}
    if len(header) != len(words) // 2 or not header.keys() >= set(_KEYS):
        raise _other_keys(_KEYS)
    return header


def _other_keys(keys: list[str]) -> ValueError:
    return ValueError(f"its header is not {', '.join(keys[:-1])} and {keys[-1]}")


def _text(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise ValueError("its header is not text") from None


def _value(text: str) -> int | str:
    kind, value = text[:1], text[1:]
    if kind == "s":
        return value
    if kind == "i" and value.removeprefix("-").isdecimal():
        return int(value)
    raise ValueError(f"its header has the value {text!r}")
