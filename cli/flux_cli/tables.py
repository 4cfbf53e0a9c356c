"""Tables of objects by a format string, as lists print them (flux-jobs(1), OUTPUT FORMAT)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flux.output_format import OutputFormat
from flux_cli.common import die
from flux_cli.formats import format_text

__all__ = ["Format", "Mark", "show"]


class Format(NamedTuple):
    """A format that has a name."""

    description: str
    text: str


class Mark(str):
    """A sign, and the letter that stands for it where it cannot be shown."""

    ascii: str

    def __new__(cls, sign: str, letter: str) -> Mark:
        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        mark = super().__new__(cls, sign if unicode else letter)
        mark.ascii = letter
        return mark


def show(
    command: str,
    rows: Callable[[], Sequence[Any]],
    text: str,
    formats: Mapping[str, Format],
    headings: Mapping[str, str],
    *,
    header: bool = True,
    subcommand: str = "",
) -> int:
    """Print a table; gives the exit code.

    Args:
        command: whose formats these are.
        rows: gets the objects, once the format is known to be right.
        text: what --format says (see `format_text`).
        headings: field to heading; no other field may be named.
        subcommand: whose table in the command's configuration files names more formats.
    """
    chosen = format_text(text, formats, command, table=subcommand)
    if chosen is None:
        return 0
    try:
        table = OutputFormat(chosen, headings)
    except ValueError as exc:
        die(str(exc))
    found = list(rows())
    shown = OutputFormat(table.filter(found, not header), headings)
    if header:
        print(shown.header().rstrip())
    for row in shown.sort_items(found):
        print(shown.format(row).rstrip())
    return 0
