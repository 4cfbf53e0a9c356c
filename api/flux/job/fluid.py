"""Flux locally unique ids: generation and text encodings (RFC 19).

A FLUID is 64 bits: 40 of milliseconds since an epoch, 14 of generator id, 10 of sequence number.
Encodings: dec, hex, dothex, kvs, f58, f58plain, words and emoji.  The tables of the last two are read when they
are asked for.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import cache

__all__ = ["ENCODINGS", "FluidGenerator", "decode", "encode", "encode_f58", "timestamp_of"]

GENERATOR_BITS = 14
SEQUENCE_BITS = 10
_TIMESTAMP_SHIFT = GENERATOR_BITS + SEQUENCE_BITS
_TIMESTAMP_LIMIT = 1 << 40
_GENERATOR_LIMIT = 1 << GENERATOR_BITS
_SEQUENCE_LIMIT = 1 << SEQUENCE_BITS
_FLUID_LIMIT = 1 << 64

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT = {c: i for i, c in enumerate(_ALPHABET)}
# as text: few programs need them, and each start of one would compile them
_DOTHEX = r"[0-9a-fA-F]{1,4}(?:\.[0-9a-fA-F]{1,4}){3}"
_HEX = r"0[xX]([0-9a-fA-F]{1,16})"
_EMOJI = b"\xf0\x9f"
_DEC = r"[0-9]{1,20}"


class FluidGenerator:
    """Generate FLUIDs that increase strictly, whatever the clock does.

    generator_id: 0 to 16383, different for each generator of an instance (e.g. the broker rank).
    start: milliseconds since the epoch at the time of the call; after a restart, more than timestamp_of()
    of the greatest id in use.  clock: seconds, from any origin.
    """

    def __init__(self, generator_id: int, start: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= generator_id < 1 << GENERATOR_BITS:
            raise ValueError(f"FLUID generator id {generator_id} is out of range 0-{(1 << GENERATOR_BITS) - 1}")
        if not 0 <= start < _TIMESTAMP_LIMIT:
            raise ValueError(f"FLUID start time {start} ms is out of range 0-{_TIMESTAMP_LIMIT - 1}")
        self._generator = generator_id << SEQUENCE_BITS
        self._clock = clock
        self._origin = clock() - start / 1000
        self._timestamp = start
        self._sequence = -1

    def timestamp(self) -> int:
        """Milliseconds since the epoch, now."""
        return int((self._clock() - self._origin) * 1000)

    def generate(self) -> int:
        """Return the next id.  More than 1024 within a millisecond borrow from the next one.

        Raises OverflowError when the 40 bits of time are used up (after 34 years).
        """
        now = self.timestamp()
        if now > self._timestamp:
            self._timestamp, self._sequence = now, 0
        else:
            self._sequence += 1
        if self._sequence == _SEQUENCE_LIMIT:
            self._timestamp, self._sequence = self._timestamp + 1, 0
        if self._timestamp >= _TIMESTAMP_LIMIT:
            raise OverflowError("FLUID timestamp exceeds 40 bits")
        return self._timestamp << _TIMESTAMP_SHIFT | self._generator | self._sequence


def timestamp_of(fluid: int) -> int:
    """The milliseconds since the epoch that an id carries."""
    return fluid >> _TIMESTAMP_SHIFT


# --- encode -----------------------------------------------------------------------------------


def encode(fluid: int, encoding: str = "f58") -> str:
    """Return ``fluid`` in the encoding named.

    f58 uses the prefix ``ƒ`` unless $FLUX_F58_FORCE_ASCII is set or the locale is not UTF-8; f58plain
    always uses ``f``.  ValueError when the encoding is unknown, OverflowError when the id is not 64 bits.
    """
    encoder = ENCODINGS.get(encoding)
    if encoder is None:
        raise ValueError(f"unknown job id encoding '{encoding}', expected one of {', '.join(ENCODINGS)}")
    if not 0 <= fluid < _FLUID_LIMIT:
        raise OverflowError(f"job id {int(fluid)} is not an unsigned 64 bit integer")
    return encoder(int(fluid))


def encode_f58(fluid: int, ascii_only: bool) -> str:
    """Return the F58 encoding with prefix ``f`` (ascii_only) or ``ƒ``, whatever the environment says."""
    digits = ""
    while fluid >= 58:
        fluid, digit = divmod(fluid, 58)
        digits = _ALPHABET[digit] + digits
    return ("f" if ascii_only else "ƒ") + _ALPHABET[fluid] + digits


def _f58(fluid: int) -> str:
    return encode_f58(fluid, ascii_only="FLUX_F58_FORCE_ASCII" in os.environ or not _locale_is_utf8())


def _f58plain(fluid: int) -> str:
    return encode_f58(fluid, ascii_only=True)


def _hex(fluid: int) -> str:
    return f"{fluid:#x}"


def _dothex(fluid: int) -> str:
    digits = f"{fluid:016x}"
    return f"{digits[:4]}.{digits[4:8]}.{digits[8:12]}.{digits[12:]}"


def _kvs(fluid: int) -> str:
    return f"job.{_dothex(fluid)}"


def _words(fluid: int) -> str:
    from flux.job._fluid_words import encode

    return encode(fluid)


def _emoji(fluid: int) -> str:
    from flux.job._fluid_emoji import encode

    return encode(fluid)


ENCODINGS: dict[str, Callable[[int], str]] = {
    "dec": str,
    "hex": _hex,
    "dothex": _dothex,
    "kvs": _kvs,
    "f58": _f58,
    "f58plain": _f58plain,
    "words": _words,
    "emoji": _emoji,
}
"""Encoding name -> encoder."""


@cache
def _locale_is_utf8() -> bool:
    import locale

    return locale.nl_langinfo(locale.CODESET).replace("-", "").upper() == "UTF8"


# --- decode -----------------------------------------------------------------------------------


def decode(text: str) -> int:
    """Return the id that ``text`` encodes, in any encoding, blanks around it ignored.

    Raises ValueError when it is none.
    """
    fluid = _decode(text.strip())
    if fluid is None or fluid >= _FLUID_LIMIT:
        raise ValueError(f"{text} is not a valid Flux jobid")
    return fluid


def _decode(text: str) -> int | None:
    if "." in text:
        return _decode_dothex(text.removeprefix("job."))
    if "-" in text:
        return _decode_words(text)
    if text.startswith(("ƒ", "f")):
        return _decode_f58(text[1:])
    if text.encode("utf-8", "surrogatepass").startswith(_EMOJI):
        return _decode_emoji(text)
    if text.startswith(("0x", "0X")):
        return _match(_HEX, text, 16)
    return _match(_DEC, text, 10)


def _match(pattern: str, text: str, base: int) -> int | None:
    return int(text, base) if re.fullmatch(pattern, text) else None


def _decode_dothex(text: str) -> int | None:
    digits = "".join(part.rjust(4, "0") for part in text.split("."))
    return int(digits, 16) if re.fullmatch(_DOTHEX, text) else None


def _decode_f58(digits: str) -> int | None:
    if not 1 <= len(digits) <= 11 or not all(c in _DIGIT for c in digits):
        return None
    fluid = 0
    for c in digits:
        fluid = fluid * 58 + _DIGIT[c]
    return fluid


def _decode_words(text: str) -> int | None:
    from flux.job._fluid_words import decode

    return decode(text)


def _decode_emoji(text: str) -> int | None:
    from flux.job._fluid_emoji import decode

    return decode(text)
