"""Points in time given by fields, as in crontab(5), and the next one of them.

The fields are those of C's struct tm: months count from 0 to 11, years from 1900, days of the week from Sunday, 0.
All fields must match, the day of the month and the day of the week too. Times are local.
"""

from __future__ import annotations

import calendar
import datetime
import errno
import time
from collections.abc import Mapping
from typing import Any

from flux.errors import FluxError
from flux.idset import IDset

__all__ = ["FIELDS", "DateFields"]

FIELDS = {
    "second": (0, 60),
    "minute": (0, 59),
    "hour": (0, 23),
    "mday": (1, 31),
    "month": (0, 11),
    "year": (0, 1100),
    "weekday": (0, 6),
}
"""Field name: least and greatest value."""

_MONTHS = {name.lower(): number - 1 for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_NAMES = {"month": _MONTHS, "weekday": _WEEKDAYS}
_LEAP_CYCLE_DAYS = 40 * 366
"""A 29 February of a given day of the week comes at least once in 40 years."""


class DateFields:
    """The values that each field may have; a field that is not given may have any.

    Args:
        fields: field name to a number or a text: `*`, `5`, `1-3`, `0-30/10`, `*/5`, `mon`, or several joined by commas.

    Raises FluxError EINVAL for a field or value that does not exist.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        for name in fields:
            if name not in FIELDS:
                raise FluxError(errno.EINVAL, f"a date has no field '{name}', only {', '.join(FIELDS)}")
        self.values = {name: _parse(name, fields.get(name, "*")) for name in FIELDS}

    def as_dict(self) -> dict[str, str]:
        """Field name to its values as an idset."""
        return {name: str(values) for name, values in self.values.items()}

    def next_after(self, now: float) -> float | None:
        """The first matching second after now (seconds since the epoch); None if there is none."""
        today = datetime.date.fromtimestamp(int(now) + 1)
        year = next((year for year in self.values["year"] if year >= today.year - 1900), None)
        if year is None:
            return None
        start = max(today, datetime.date(year + 1900, 1, 1)).toordinal()
        for ordinal in range(start, start + _LEAP_CYCLE_DAYS):
            day = datetime.date.fromordinal(ordinal)
            found = self._next_on(day, now) if self._has_day(day) else None
            if found is not None:
                return found
        return None

    def _has_day(self, day: datetime.date) -> bool:
        values = self.values
        return (
            day.month - 1 in values["month"]
            and day.day in values["mday"]
            and day.isoweekday() % 7 in values["weekday"]
            and day.year - 1900 in values["year"]
        )

    def _next_on(self, day: datetime.date, now: float) -> float | None:
        values = self.values
        for hour in values["hour"]:
            if _epoch(day, hour, 59, 60) <= now:
                continue
            for minute in values["minute"]:
                if _epoch(day, hour, minute, 60) <= now:
                    continue
                for second in values["second"]:
                    when = _epoch(day, hour, minute, second)
                    if when > now and second < 60:
                        return when
        return None


def _epoch(day: datetime.date, hour: int, minute: int, second: int) -> float:
    return time.mktime((day.year, day.month, day.day, hour, minute, second, 0, 0, -1))


def _parse(name: str, value: Any) -> IDset:
    if type(value) is not int and not isinstance(value, str):
        raise FluxError(errno.EINVAL, f"{name} is a number or a text such as '*/5', not {value!r}")
    values = IDset()
    for part in str(value).split(","):
        values.add(IDset(_range(name, part.strip().lower())))
    return values


def _range(name: str, text: str) -> range:
    least, greatest = FIELDS[name]
    span, slash, step = text.partition("/")
    first, dash, last = ("*", "", "") if span == "*" else span.partition("-")
    try:
        every = int(step) if slash else 1
        low = least if first == "*" else _number(name, first)
        high = greatest if first == "*" or (slash and not dash) else _number(name, last) if dash else low
    except ValueError:
        raise FluxError(errno.EINVAL, f"{name} '{text}' is no number, range or list") from None
    if every < 1 or not least <= low <= high <= greatest:
        raise FluxError(errno.EINVAL, f"{name} '{text}' is not within {least}-{greatest}")
    return range(low, high + 1, every)


def _number(name: str, text: str) -> int:
    number = _NAMES.get(name, {}).get(text[:3] if text.isalpha() else text)
    return int(text) if number is None else number
