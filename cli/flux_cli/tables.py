"""Tables of objects by a format string, as lists print them (flux-jobs(1), OUTPUT FORMAT)."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flux.job.info_format import HeaderFormatter, JobFormatter
from flux_cli.common import die

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
    parts = _parse(formats[text].text if text in formats else text, headings)
    found = rows()
    shown = _without_empty(parts, found)
    if header:
        print(HeaderFormatter().format(shown, **headings).rstrip())
    for row in found:
        print(JobFormatter().format(shown, job=row).rstrip())
    return 0


def _print_config(name: str, formats: Mapping[str, Format]) -> None:
    if name not in formats:
        die(f"--format: No such format {name}: there are {', '.join(formats)}")
    print(f"[formats.{name}]\ndescription = \"{formats[name].description}\"\nformat = '''{formats[name].text}'''")


class _Part(NamedTuple):
    literal: str
    field: str | None
    spec: str
    optional: bool


def _parse(text: str, headings: Mapping[str, str]) -> list[_Part]:
    parts = []
    try:
        for literal, field, spec, conversion in string.Formatter().parse(text):
            if field is not None and field not in headings:
                die(f"Unknown format field: {field}")
            marked = f"{'!' + conversion if conversion else ''}{':' + spec if spec else ''}"
            parts.append(_Part(literal.removesuffix("?:"), field, marked, field is not None and literal.endswith("?:")))
    except ValueError as exc:
        die(f"Error in user format: {exc}")
    return parts


def _without_empty(parts: list[_Part], rows: Sequence[Any]) -> str:
    """The format without the fields marked `?:` that no row has anything in."""
    text = ""
    for literal, field, spec, optional in parts:
        text += literal.replace("{", "{{").replace("}", "}}")
        if field is None:
            continue
        if not optional or any(JobFormatter().get_field(field, (), {"job": row})[0] for row in rows):
            text += f"{{{field}{spec}}}"
        else:
            text = text.removesuffix(" ")
    return text
