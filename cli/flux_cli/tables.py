"""Tables of objects by a format string, as lists print them (flux-jobs(1), OUTPUT FORMAT)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flux.output_format import OutputFormat
from flux_cli.common import die
from flux_cli.formats import named_format

__all__ = ["Format", "show"]


class Format(NamedTuple):
    """A format that has a name."""

    description: str
    text: str


def show(
    command: str,
    rows: Callable[[], Sequence[Any]],
    text: str,
    formats: Mapping[str, Format],
    headings: Mapping[str, str],
    *,
    header: bool = True,
) -> int:
    """Print a table; gives the exit code.

    Args:
        command: whose formats these are.
        rows: gets the objects, once the format is known to be right.
        text: a format, the name of one of `formats`, or "help".
        headings: field to heading; no other field may be named.
    """
    if text == "help":
        print(f"\nConfigured {command} output formats:\n")
        for name, known in formats.items():
            print(f"  {name:<12} {known.description}")
        return 0
    if text.startswith("get-config="):
        _print_config(text.removeprefix("get-config="), formats)
        return 0
    try:
        table = OutputFormat(named_format(text, {name: known.text for name, known in formats.items()}), headings)
    except ValueError as exc:
        die(str(exc))
    found = list(rows())
    shown = OutputFormat(table.filter(found, not header), headings)
    if header:
        print(shown.header().rstrip())
    for row in shown.sort_items(found):
        print(shown.format(row).rstrip())
    return 0


def _print_config(name: str, formats: Mapping[str, Format]) -> None:
    if name not in formats:
        die(f"--format: No such format {name}: there are {', '.join(formats)}")
    print(f"[formats.{name}]\ndescription = \"{formats[name].description}\"\nformat = '''{formats[name].text}'''")
