"""Show jobs by a format string (flux-jobs(1), OUTPUT FORMAT; manual page ``flux.job.info``).

Python's format syntax, with the conversions !D, !d, !F, !H, !P, the suffix "h" of a specification ("-" in place of
nothing) and the suffix "+" (marks a value that was cut).
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flux.job.info import JobInfo

__all__ = ["JobInfoFormat"]

_NOTHING = frozenset(("", "0s", "0.0", "0:00:00", "1970-01-01T00:00:00"))


class JobFormatter(string.Formatter):
    """Formats the fields of a job."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        value: Any = kwargs["job"]
        for part in field_name.split("."):
            value = getattr(value, part)
        return value, field_name

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        convert = _CONVERSIONS.get(conversion or "")
        return super().convert_field(value, conversion) if convert is None else convert(value)

    def format_field(self, value: Any, format_spec: str) -> str:
        return _show(value, format_spec)


class HeaderFormatter(JobFormatter):
    """Formats the headings in the widths of the fields."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        spec = format_spec.rstrip("h+")
        return value if "%" in spec else format(value, spec.rstrip("bcdeEfFgGnosxX"))


def _show(value: Any, spec: str) -> str:
    hyphen = "h" in spec[-2:] and "%" not in spec
    mark_cut = "+" in spec[-2:]
    spec = spec.rstrip("h+") if hyphen or mark_cut else spec
    text = str(value) if isinstance(value, _AS_TEXT) or value is None else value
    if hyphen and str(text) in _NOTHING:
        text = "-"
    if isinstance(text, str):
        spec = spec.rstrip("defgn") if "%" not in spec else spec
        return _cut(text, spec) if mark_cut else format(text, spec)
    return format(text, spec) if spec else str(text)


_AS_TEXT = (bool, list)


def _cut(text: str, spec: str) -> str:
    width = spec.partition(".")[2]
    if width.isdecimal() and len(text) > int(width) > 1:
        text = text[: int(width) - 1] + "+"
    return format(text, spec)


def _date(value: Any) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(value).strftime("%Y-%m-%dT%H:%M:%S") if value else ""


def _datetime(value: Any) -> Any:
    from datetime import datetime

    return datetime.fromtimestamp(value or 0.0)


def _duration(value: Any) -> str:
    from flux.util import fsd

    return "" if value == "" else fsd(float(value))


def _clock(value: Any) -> str:
    if value == "":
        return ""
    minutes, seconds = divmod(int(float(value) + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


_CONVERSIONS = {"D": _date, "d": _datetime, "F": _duration, "H": _clock}


class JobInfoFormat:
    """A format string, checked.

    Args:
        fmt: such as "{id.f58:>12} {name:<10.10} {runtime!F:>8h}".

    Raises:
        ValueError: the format is malformed, or names a field that jobs do not have.
    """

    HeaderFormatter = HeaderFormatter
    JobFormatter = JobFormatter

    headings: dict[str, str] = {
        "id": "JOBID",
        "id.f58": "JOBID",
        "id.f58plain": "JOBID",
        "id.dec": "JOBID",
        "id.hex": "JOBID",
        "id.dothex": "JOBID",
        "id.kvs": "JOBID",
        "userid": "UID",
        "username": "USER",
        "urgency": "URG",
        "priority": "PRI",
        "state": "STATE",
        "state_single": "S",
        "name": "NAME",
        "queue": "QUEUE",
        "project": "PROJECT",
        "bank": "BANK",
        "cwd": "CWD",
        "ntasks": "NTASKS",
        "ncores": "NCORES",
        "nnodes": "NNODES",
        "duration": "DURATION",
        "ranks": "RANKS",
        "nodelist": "NODELIST",
        "success": "SUCCESS",
        "result": "RESULT",
        "result_abbrev": "RS",
        "t_submit": "T_SUBMIT",
        "t_depend": "T_DEPEND",
        "t_run": "T_RUN",
        "t_cleanup": "T_CLEANUP",
        "t_inactive": "T_INACTIVE",
        "runtime": "RUNTIME",
        "status": "STATUS",
        "status_abbrev": "ST",
        "waitstatus": "WSTATUS",
        "returncode": "RC",
        "exception.occurred": "EXCEPTION-OCCURRED",
        "exception.severity": "EXCEPTION-SEVERITY",
        "exception.type": "EXCEPTION-TYPE",
        "exception.note": "EXCEPTION-NOTE",
        "expiration": "EXPIRATION",
        "t_remaining": "T_REMAINING",
        "annotations": "ANNOTATIONS",
        "annotations.sched.reason_pending": "REASON",
        "annotations.sched.resource_summary": "RESOURCES",
        "annotations.sched.t_estimate": "T_ESTIMATE",
        "sched": "SCHED",
        "sched.reason_pending": "REASON",
        "sched.resource_summary": "RESOURCES",
        "sched.t_estimate": "T_ESTIMATE",
        "user": "USER",
        "uri": "URI",
        "uri.local": "URI",
        "dependencies": "DEPENDENCIES",
        "contextual_info": "INFO",
        "contextual_time": "TIME",
    }
    _OPEN = ("annotations.", "sched.", "user.")

    def __init__(self, fmt: str) -> None:
        self.fmt = fmt
        self.fields = [self._checked(field) for field in _fields(fmt)]
        self._job_formatter = JobFormatter()

    def _checked(self, field: str) -> str:
        if field in self.headings or field.startswith(self._OPEN):
            return field
        import difflib

        near = difflib.get_close_matches(field, self.headings, 1)
        hint = f", did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"jobs have no field '{field}'{hint}")

    def header(self) -> str:
        """The line of headings."""
        names = {field: self.headings.get(field, field.rpartition(".")[2].upper()) for field in self.fields}
        return HeaderFormatter().format(self.fmt, **names)

    def format(self, obj: JobInfo) -> str:
        """The line of one job."""
        return self._job_formatter.format(self.fmt, job=obj)

    def attributes(self) -> list[str]:
        """The RFC 43 attributes that the fields need, to ask for no more."""
        return sorted({name for field in self.fields for name in _needs(field)})


def _fields(fmt: str) -> list[str]:
    try:
        parsed = list(string.Formatter().parse(fmt))
    except ValueError as exc:
        raise ValueError(f"format '{fmt}': {exc}") from None
    return [field for _, field, _, _ in parsed if field is not None]


_NEEDS = {
    "id": (),
    "username": ("userid",),
    "state": ("state",),
    "state_single": ("state",),
    "result": ("result",),
    "result_abbrev": ("result",),
    "status": ("state", "result"),
    "status_abbrev": ("state", "result"),
    "runtime": ("t_run", "t_cleanup"),
    "t_remaining": ("state", "expiration"),
    "returncode": ("state", "waitstatus", "t_run", "exception_occurred"),
    "sched": ("annotations",),
    "user": ("annotations",),
    "uri": ("annotations",),
    "contextual_info": ("state", "nodelist", "annotations", "dependencies", "urgency"),
    "contextual_time": ("state", "duration", "t_run", "t_cleanup"),
}


def _needs(field: str) -> Iterable[str]:
    first, _, rest = field.partition(".")
    if first == "exception":
        return (f"exception_{rest}",)
    return _NEEDS.get(first, (first,))
