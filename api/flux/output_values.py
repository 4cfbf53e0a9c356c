"""Values as the fields of an output format show them (flux-jobs(1), OUTPUT FORMAT)."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["convert", "is_empty", "show"]

_NOTHING = frozenset(("", "0s", "0.0", "0:00:00", "1970-01-01T00:00:00"))
_NUMERIC = tuple("bcdeEfFgGnoxX")
"""Ends of specifications that a field may have though some of its values are text."""


def is_empty(text: str) -> bool:
    """Whether a value shows as nothing: "", no time, no duration."""
    return text in _NOTHING


def show(value: Any, spec: str) -> str:
    """A converted value by a format specification."""
    if isinstance(value, datetime):
        return _show_date(value, spec)
    mark_cut = spec.endswith("+")
    spec = spec[:-1] if mark_cut else spec
    hyphen = spec.endswith("h")
    spec = spec[:-1] if hyphen else spec
    text = value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)
    if hyphen and is_empty(str(text)):
        text = "-"
    if not isinstance(text, str):
        return format(text, spec) if spec else str(text)
    line = format(text, spec[:-1] if spec.endswith(_NUMERIC) else spec)
    return line[:-1] + "+" if mark_cut and len(line) < len(text) else line


def _show_date(value: datetime, spec: str) -> str:
    date_format, separated, spec = spec.partition("::")
    text = "" if value.timestamp() == 0 else value.strftime(date_format or "%Y-%m-%dT%H:%M:%S")
    return show(text, spec) if separated else text


def convert(value: Any, conversion: str | None) -> Any:
    """A value as the conversion after "!" makes it. ValueError when there is no such conversion."""
    if conversion in _CONVERSIONS:
        return _CONVERSIONS[conversion](value)
    return string.Formatter().convert_field(value, conversion)


def _date(value: Any) -> str:
    return datetime.fromtimestamp(float(value)).strftime("%Y-%m-%dT%H:%M:%S") if value else ""


def _datetime(value: Any) -> datetime:
    return datetime.fromtimestamp(float(value or 0.0))


def _duration(value: Any) -> str:
    from flux.util import fsd

    return "" if str(value) == "" else fsd(float(value))


def _clock(value: Any) -> str:
    if str(value) == "":
        return ""
    from datetime import timedelta

    seconds = float(value)
    return str(timedelta(seconds=1 if 0 < seconds < 1 else round(seconds)))


def _percentage(value: Any) -> str:
    if str(value) == "":
        return ""
    percent = float(value) * 100
    return f"{percent:.2f}%" if 0 < percent < 1 else f"{percent:.3g}%"


_CONVERSIONS: dict[str | None, Callable[[Any], Any]] = {
    "D": _date,
    "d": _datetime,
    "F": _duration,
    "H": _clock,
    "P": _percentage,
}
