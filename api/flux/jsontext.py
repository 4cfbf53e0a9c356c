"""JSON texts and the objects they stand for.

The codec is msgspec, and `encode` and `decode` are its own functions in a process that has imported it, as every
broker has. Importing it takes longer than all else that `flux run` does before it submits, so until then the standard
library reads and writes small texts, strictly; what it refuses, or would read otherwise, is left to msgspec.

Use them as `jsontext.encode` and `jsontext.decode`: a name imported from here would miss the change.
"""

from __future__ import annotations

import sys
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

__all__ = ["decode", "encode", "errors"]

_LARGE = 1 << 20
"""From how many bytes on reading a text with msgspec takes less, its import included."""


def errors() -> tuple[type[Exception], ...]:
    """What `encode` and `decode` raise. For an `except` clause, which asks for it when something was raised."""
    import msgspec

    return TypeError, ValueError, RecursionError, msgspec.MsgspecError


def _plain(obj: Any) -> Any:
    """What JSON can hold of a value it cannot: numbers and strings of a class of their own (such as JobID)."""
    for type in (int, float, str):
        if isinstance(obj, type):
            return type(obj)
    raise TypeError(f"{obj.__class__.__name__} is not JSON")


def _encode(obj: Any) -> bytes:
    if "msgspec" not in sys.modules:
        try:
            return _standard()[0](obj).encode()
        except (TypeError, ValueError, RecursionError):
            pass  # msgspec may know it, or says why not
    _use_msgspec()
    return encode(obj)


def _decode(text: bytes | str) -> Any:
    if "msgspec" not in sys.modules and len(text) < _LARGE:
        try:
            string = text if isinstance(text, str) else text.decode()
            if "\\ud" not in string and "\\uD" not in string:  # half a character, perhaps
                return _standard()[1](string)
        except (ValueError, RecursionError):
            pass  # msgspec says why
    _use_msgspec()
    return decode(text)


encode: Callable[[Any], bytes] = _encode
"""The JSON text of an object, without white space. Raises one of `errors`."""
decode: Callable[[bytes | str], Any] = _decode
"""The object that a JSON text stands for. Raises one of `errors`."""


def _use_msgspec() -> None:
    global encode, decode
    import msgspec

    encode, decode = msgspec.json.Encoder(enc_hook=_plain).encode, msgspec.json.Decoder().decode


@cache
def _standard() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """The standard library's encoder and decoder of strict JSON."""
    from json import JSONDecoder, JSONEncoder

    encoder = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return encoder.encode, JSONDecoder(parse_constant=_refuse).decode


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
