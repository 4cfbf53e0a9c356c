"""Where the tables and keys of a TOML text stand, for messages that name the line; parsers do not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["Path", "locate"]

Path = tuple[str, ...]
"""A table or key: the parts of its dotted name."""

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=\s*")
_INLINE_KEY = re.compile(rf"[{{,]\s*({_NAME})\s*=")


def locate(text: str) -> dict[Path, tuple[int, int]]:
    """Line and column of each table header and key of a TOML text; the first one counts.

    A table without a header of its own stands where its first member does.
    """
    positions: dict[Path, tuple[int, int]] = {}
    table: Path = ()
    for number, line in _lines_outside_strings(text):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _split(header[1])
            _record(positions, table, number, header.start(1))
        elif key:
            path = (*table, *_split(key[1]))
            _record(positions, path, number, key.start(1))
            if line.startswith("{", key.end()):
                for inner in _INLINE_KEY.finditer(line, key.end()):
                    _record(positions, (*path, *_split(inner[1])), number, inner.start(1))
    return positions


def _record(positions: dict[Path, tuple[int, int]], path: Path, line: int, offset: int) -> None:
    for depth in range(1, len(path) + 1):
        positions.setdefault(path[:depth], (line, offset + 1))


def _split(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_NAME, dotted))


def _lines_outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """The lines that do not begin inside a multi-line string."""
    delimiter = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not delimiter:
            yield number, line
        for found in re.findall(r'"""|\'\'\'', line):
            if found == delimiter:
                delimiter = ""
            elif not delimiter:
                delimiter = found
