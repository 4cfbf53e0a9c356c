"""PMI-1 messages as text: ``cmd=NAME key=value ...`` lines (RFC 13, wire protocol).  No I/O here.

Text is UTF-8; bytes that are not survive a round trip (surrogateescape), as values are the program's business.
"""

from __future__ import annotations

import re

__all__ = ["MAX_LINE", "LineBuffer", "WireError", "format_line", "parse_line"]

MAX_LINE = 1 << 16
"""Longest line accepted, in bytes; keys and values have tighter limits of their own (get_maxes)."""

# A value and a message may hold blanks.  A value is last on its line; some servers put a message before one.
_FIELD = re.compile(r"[ \t]*(?:(value)=(.*)|(msg)=(.*?(?=[ \t]+(?:value|port|rc)=|$))|([^ \t=]+)=([^ \t]*))", re.DOTALL)


# Most lines are a put, a get or a barrier written so: one match tells their fields, without a step for each.
_USUAL = re.compile(rb"cmd=([^ \t]*)(?: kvsname=([^ \t]*) key=([^ \t]*)(?: value=(.*))?)?(?<![\r\n])\Z", re.DOTALL)


class WireError(ValueError):
    """A line that is no PMI-1 message."""


def parse_line(line: str | bytes) -> dict[str, str]:
    """Return the key=value pairs of a line (with or without newline), among them ``cmd`` or ``mcmd``.

    Raises WireError when it is no message.
    """
    usual = _USUAL.match(line) if isinstance(line, bytes) else None
    if usual is not None:
        return _decoded(*usual.groups())
    text = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
    text = text.removesuffix("\n").removesuffix("\r")
    fields = _fields(text)
    if "cmd" not in fields and "mcmd" not in fields:
        raise WireError(f"PMI message without cmd= or mcmd=: {text[:80]!r}")
    return fields


def format_line(cmd: str, **fields: object) -> str:
    """Return a message with its newline.  ``value``, which may hold blanks, goes last.

    ValueError when a field cannot be written: a newline anywhere, a blank in a word.
    """
    last = f" value={fields.pop('value')}" if "value" in fields else ""
    pairs = []
    for key, field in (("cmd", cmd), *fields.items()):
        word = str(field)
        if key != "msg" and (" " in word or "\t" in word):
            raise ValueError(f"PMI {key} must not contain blanks: {word!r}")
        pairs.append(f"{key}={word}")
    line = " ".join(pairs) + last
    if "\n" in line:
        raise ValueError(f"PMI message must not contain a newline: {line[:80]!r}")
    return line + "\n"


class LineBuffer:
    """Cut what arrives in chunks into lines."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes, without newline; WireError when one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(len(line) for line in (*lines, self._rest)) > self._max:
            raise WireError(f"PMI message of more than {self._max} bytes")
        return [line.decode("utf-8", "surrogateescape") for line in lines]


def _decoded(cmd: bytes, kvsname: bytes | None, key: bytes | None, value: bytes | None) -> dict[str, str]:
    fields = {"cmd": cmd.decode("utf-8", "surrogateescape")}
    if kvsname is not None and key is not None:
        fields["kvsname"] = kvsname.decode("utf-8", "surrogateescape")
        fields["key"] = key.decode("utf-8", "surrogateescape")
    if value is not None:
        fields["value"] = value.decode("utf-8", "surrogateescape")
    return fields


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    pos = 0
    while field := _FIELD.match(text, pos):
        value = field.lastindex or 0
        fields[field[value - 1]] = field[value]
        pos = field.end()
    if text[pos:].strip(" \t"):
        raise WireError(f"PMI message with a word that is not key=value: {text[pos : pos + 80]!r}")
    return fields
