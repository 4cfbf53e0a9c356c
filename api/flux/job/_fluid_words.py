"""The mnemonic encoding of FLUIDs (RFC 19, section FLUID Mnemonic Encoding): six words to say over the phone."""

from __future__ import annotations

from mnemonicode import mnformat, mnparse

__all__ = ["decode", "encode"]

_BYTES = 8


def encode(fluid: int) -> str:
    """The words of an id: two groups of three, "-" between words and "--" between groups."""
    return mnformat(fluid.to_bytes(_BYTES, "little"))


def decode(text: str) -> int | None:
    """The id of which these are the words; None when it is no such text."""
    try:
        data = mnparse(text)
    except ValueError:
        return None
    return int.from_bytes(data, "little") if len(data) == _BYTES else None
