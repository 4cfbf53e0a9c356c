"""Module arguments: RFC 5 strings or a table of plugins.toml, to the struct that a module declares."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flux.errors import FluxError

__all__ = ["decode_options", "encode_args", "parse_args"]


def parse_args(args: Sequence[str]) -> dict[str, Any]:
    """["key=value", "flag"] to a table; a word without "=" is true."""
    table: dict[str, Any] = {}
    for arg in args:
        key, sep, value = arg.partition("=")
        table[key] = value if sep else True
    return table


def encode_args(options: Mapping[str, Any]) -> list[str]:
    """A table to RFC 5 strings: a word alone for what is true, other values that are no strings as JSON."""
    return [
        k if v is True else f"{k}={v if isinstance(v, str) else msgspec.json.encode(v).decode()}"
        for k, v in options.items()
    ]


def decode_options(module: str, options: Mapping[str, Any], type: type[msgspec.Struct] | None) -> Any:
    """The struct a module declares, or None when it takes no arguments.

    Raises:
        FluxError: EINVAL, naming the argument that is unknown or does not fit.
    """
    if type is None:
        if options:
            raise FluxError(errno.EINVAL, f"{module} takes no arguments, but got {', '.join(options)}")
        return None
    fields = msgspec.structs.fields(type) if options else ()  # what they are takes a while to find out
    by_name = {field.encode_name: field for field in fields}
    by_name |= {name.replace("_", "-"): field for name, field in by_name.items()}
    for key in options:
        if key not in by_name:
            near = difflib.get_close_matches(key, by_name, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(sorted(by_name)) or 'none'}"
            raise FluxError(errno.EINVAL, f"{module} has no argument {key!r}{hint}")
    try:
        return msgspec.convert({by_name[k].encode_name: v for k, v in options.items()}, type, strict=False)
    except msgspec.MsgspecError as exc:
        raise FluxError(errno.EINVAL, f"argument of {module}: {exc}") from None
