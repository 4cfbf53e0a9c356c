"""Submission directives in batch scripts: lines such as `# flux: -N4 --queue=batch` (RFC 36). Pure.

All directives begin with the same sentinel, a prefix without letters and digits and then `flux:` or `FLUX:`, and stand
together: they end at the first line that is not blank and does not begin with the prefix.
"""

from __future__ import annotations

import re
import shlex
import textwrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

    Line = tuple[int, str]

__all__ = ["Directive", "parse_directives"]

_SENTINEL = re.compile(r"([^\w]*)(?:flux|FLUX):")
_TRIPLE = re.compile(r"(\"\"\"|''')(.*?)\1", re.DOTALL)
_OPENING = re.compile(r"(\"\"\"|''')\s*$")


class Directive:
    """Options that a script gives itself. line: where, counted from 1. words: as a command line has them."""

    def __init__(self, line: int, words: list[str]) -> None:
        self.line = line
        self.words = words


def parse_directives(script: str) -> list[Directive]:
    """The directives of a script, those without words left out. ValueError names the line that is wrong."""
    lines = iter(_marked(script))
    found = [_directive(number, text, lines) for number, text in lines]
    for directive in found:
        if directive.words and not directive.words[0].startswith("-"):
            _fail(directive.line, f"unknown directive '{directive.words[0]}': expected an option, such as -N2")
    return [directive for directive in found if directive.words]


def _fail(line: int, text: str) -> NoReturn:
    raise ValueError(f"line {line}: {text}")


def _marked(script: str) -> list[Line]:
    """Number and rest of each line with the sentinel."""
    sentinel: re.Match[str] | None = None
    over = False
    found: list[Line] = []
    for number, line in enumerate(script.splitlines(), 1):
        match = _SENTINEL.match(line)
        sentinel = sentinel or match
        if match and sentinel:
            _check_place(number, match[0], sentinel[0], over)
            found.append((number, line[match.end() :]))
        elif sentinel and line.strip() and not line.startswith(sentinel[1]):
            over = True
    return found


def _check_place(number: int, mark: str, first: str, over: bool) -> None:
    if over:
        _fail(number, "orphan 'flux:' directive: directives stand together, before other lines")
    if mark != first:
        _fail(number, f"'{mark}' does not match the first directive's '{first}'")


def _directive(number: int, text: str, rest: Iterator[Line]) -> Directive:
    opening = _opening(text)
    if opening is not None:
        text = text.rstrip() + _literal(number, opening, rest) + opening
    try:
        return Directive(number, _words(text))
    except ValueError as exc:
        _fail(number, f"{text.strip().splitlines()[0]}: {exc}")


def _opening(text: str) -> str | None:
    """The triple quote that a line ends in without having closed it."""
    match = _OPENING.search(_TRIPLE.sub("", text))
    return match[1] if match else None


def _literal(number: int, quote: str, rest: Iterable[Line]) -> str:
    lines: list[str] = []
    for _, line in rest:
        if line.rstrip().endswith(quote):
            if line.strip() != quote:
                lines.append(line.rstrip().removesuffix(quote))
            return textwrap.dedent("".join(f"{text}\n" for text in lines))
        lines.append(line)
    _fail(number, f"{quote} is not closed: it should be, at the end of a later directive")


def _words(text: str) -> list[str]:
    """Words as a shell has them, and what is in triple quotes as it is."""
    literals: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literals.append(match[2])
        return f"\0{len(literals) - 1}\0"

    words = shlex.split(_TRIPLE.sub(keep, text), comments=True)
    return [re.sub("\0([0-9]+)\0", lambda match: literals[int(match[1])], word) for word in words]
