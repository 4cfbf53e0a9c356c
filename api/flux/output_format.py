"""Lines of objects by a format string, as lists of jobs, queues and resources show them (flux-jobs(1), OUTPUT FORMAT).

Python's format syntax, with the conversions !D, !d, !F, !H and !P, the suffix "h" of a specification ("-" in place of
nothing), the suffix "+" (marks a value that was cut), "::" between the format of a date and its width, and before a
field "?:" (leave the column out when it is empty), "+:" (as wide as its widest value) or "?+:" (both).
"""

from __future__ import annotations

import errno
import os
import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from flux.errors import FluxError
from flux.output_values import convert, is_empty, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["FormatError", "HeaderFormatter", "JobFormatter", "OutputFormat"]

_SPEC = re.compile(
    r"(?:.?[<>=^])?[- +]?z?#?0?(?P<width>\d+)?[_,]?(?:\.(?P<precision>\d+))?[bcdeEfFgGnosxX%]?h?\+?", re.DOTALL
)
_ALIGN = re.compile(r"(?:.?([<>=^]))?")
_SORT = re.compile(r"sort:([^\s{]*) ?")
_MARKS = ("?+:", "?:", "+:")


class FormatError(FluxError, ValueError):
    """A value that a format cannot show (EINVAL)."""


# -- formatters after the standard library's model


class UtilFormatter(string.Formatter):
    """Formats with the conversions and suffixes of flux commands, such as {t!D} and {name:<10.10+}."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return convert(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        return show(value, format_spec)


class JobFormatter(UtilFormatter):
    """Formats the fields of the object given as `job`."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return attrgetter(field_name)(kwargs["job"]), field_name


class HeaderFormatter(UtilFormatter):
    """Formats headings in the widths of the fields."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return value

    def format_field(self, value: Any, format_spec: str) -> str:
        return format(value, _layout(format_spec))


def _layout(spec: str) -> str:
    """What of a specification also holds for the heading: alignment and width."""
    spec = spec.rpartition("::")[2] if "::" in spec else "" if "%" in spec else spec
    found = _SPEC.fullmatch(spec)
    if found is None:
        return ""
    align = _ALIGN.match(spec)
    return f"{(align and align[1]) or ''}{found['width'] or ''}"


# -- a whole format


class _Part:
    """Text, and the field after it, if any."""

    def __init__(self, literal: str, mark: str, field: str | None, conversion: str | None, spec: str) -> None:
        self.literal = literal
        self.mark = mark
        self.field = field
        self.conversion = conversion
        self.spec = spec

    def text(self) -> str:
        """The part as it stands in a format string, without its mark."""
        literal = self.literal.replace("{", "{{").replace("}", "}}")
        if self.field is None:
            return literal
        conversion = f"!{self.conversion}" if self.conversion else ""
        return f"{literal}{{{self.field}{conversion}{':' + self.spec if self.spec else ''}}}"

    def bare(self) -> _Part:
        """The value alone, without width."""
        return _Part("", self.mark, self.field, self.conversion, "")

    def widened(self, width: int) -> _Part:
        """The same with this width at least, and nothing cut."""
        dates, separated, spec = self.spec.rpartition("::")
        found = _SPEC.fullmatch(spec)
        if found is None:
            return self
        align = spec[: found.start("width")] if found["width"] else spec[: (_ALIGN.match(spec) or found).end()]
        end = found.end("width") if found["width"] else len(align)
        rest = spec[end:]
        if found["precision"]:
            rest = rest.replace(f".{found['precision']}", f".{max(width, int(found['precision']))}", 1)
        spec = f"{dates}{separated}{align}{max(width, int(found['width'] or 0))}{rest}"
        return _Part(self.literal, self.mark, self.field, self.conversion, spec)


class OutputFormat:
    """A format string, checked.

    Args:
        fmt: such as "{id.f58:>12} ?:{queue:<8.8} {runtime!F:>8h}", with "sort:KEY,-KEY " before it to sort.
        headings: field to heading; no other field may be named. By default those of the class.

    Attributes:
        sort_keys: (field, whether in reverse), the most important first.

    Raises:
        ValueError: the format is malformed, or names a field that there is not.
    """

    headings: Mapping[str, str] = {}

    def __init__(self, fmt: str, headings: Mapping[str, str] | None = None) -> None:
        if headings is not None:
            self.headings = headings
        self.sort_keys: list[tuple[str, bool]] = []
        self.fmt = fmt
        sort = _SORT.match(fmt)
        if sort is not None:
            self.set_sort_keys(sort[1])
            self.fmt = fmt[sort.end() :]
        self._parts = [self._checked(part) for part in _parse(self.fmt)]
        self._lines = [_renderer(part) for part in self._parts]

    def _checked(self, part: _Part) -> _Part:
        if part.field is not None:
            self.heading(part.field)
        return part

    def heading(self, field: str) -> str:
        """The heading of a field. ValueError when there is no such field."""
        try:
            return self.headings[field]
        except KeyError:
            raise ValueError(f"Unknown format field: {field}{_nearest(field, self.headings)}") from None

    @property
    def fields(self) -> list[str]:
        """The fields that are shown or sorted by."""
        shown = [part.field for part in self._parts if part.field is not None]
        return list(dict.fromkeys([*shown, *(key for key, _ in self.sort_keys)]))

    def get_format(self) -> str:
        """The format string, without what was said of the order."""
        return self.fmt

    def header(self, width: int = -1) -> str:
        """The line of headings, cut at width columns (see `print_items`)."""
        parts = (
            part.literal + (format(self.heading(part.field), _layout(part.spec)) if part.field else "")
            for part in self._parts
        )
        return _cut("".join(parts), _columns(width))

    def format(self, obj: Any) -> str:
        """The line of one object. FormatError when a value is of no kind that its part of the format can show."""
        try:
            return "".join([render(obj) for render in self._lines])
        except (TypeError, ValueError) as exc:
            raise self._misfit(exc) from None

    def _misfit(self, exc: Exception) -> FormatError:
        return FormatError(errno.EINVAL, f"the format {self.fmt!r} cannot show a value: {exc}")

    @property
    def fitted_fields(self) -> list[str]:
        """The fields whose columns depend on the objects that are shown (see `filter`)."""
        return [part.field for part in self._parts if part.mark and part.field is not None]

    def filter(self, items: Iterable[Any], no_header: bool = False) -> str:
        """The format as these objects need it: empty columns marked "?:" left out with the text before them, those
        marked "+:" widened.

        Args:
            no_header: the heading does not count for the width.
        """
        order = ",".join(f"{'-' if reverse else ''}{key}" for key, reverse in self.sort_keys)
        widths = self._widths(items)
        text = "".join(self._fitted(part, widths.get(part, 0), no_header) for part in self._parts)
        return f"sort:{order} {text}" if order else text

    def _widths(self, items: Iterable[Any]) -> dict[_Part, int]:
        """Of the columns that depend on it: the length of the longest value, 0 when all are empty."""
        columns = [(part, _renderer(part.bare())) for part in self._parts if part.mark]
        widths = {part: 0 for part, _ in columns}
        for item in items if columns else ():
            for part, render in columns:
                try:
                    text = render(item)
                except (TypeError, ValueError) as exc:
                    raise self._misfit(exc) from None
                if len(text) > widths[part] and not is_empty(text):
                    widths[part] = len(text)
        return widths

    def _fitted(self, part: _Part, width: int, no_header: bool) -> str:
        if not part.mark:
            return part.text()
        if width == 0 and "?" in part.mark:
            return ""
        if "+" in part.mark:
            part = part.widened(width if no_header else max(width, len(self.heading(part.field or ""))))
        return part.text()

    def set_sort_keys(self, sort_keys: str) -> None:
        """Sort by these fields, separated by commas, "-" before one for the reverse. ValueError: no such field."""
        self.sort_keys = []
        for word in filter(None, map(str.strip, sort_keys.split(","))):
            key = word.removeprefix("-")
            if key not in self.headings:
                raise ValueError(f"Invalid sort key: {key}{_nearest(key, self.headings)}")
            self.sort_keys.append((key, key != word))

    def sort_items(self, items: list[Any]) -> list[Any]:
        """Sort in place: nothing before numbers before text; returns the list."""
        for key, reverse in reversed(self.sort_keys):
            items.sort(key=_ranking(_getter(key)), reverse=reverse)
        return items

    def print_items(
        self,
        items: list[Any],
        no_header: bool = False,
        width: int = -1,
        pre: Callable[[Any], object] | None = None,
        post: Callable[[Any], object] | None = None,
    ) -> None:
        """Print a line of headings and one for each object, sorted, in columns as `filter` makes them.

        Args:
            width: longest line; 0 for the width of the terminal, less than 0 for no limit.
            pre, post: called with each object, before and after its line.
        """
        fitted = type(self)(self.filter(items, no_header), self.headings)
        if not no_header:
            print(fitted.header(width))
        columns = _columns(width)
        for item in fitted.sort_items(items):
            line = fitted.format(item)
            if line and not line.isspace():
                if pre is not None:
                    pre(item)
                print(_cut(line, columns))
                if post is not None:
                    post(item)


def _parse(fmt: str) -> Iterator[_Part]:
    try:
        parsed = list(string.Formatter().parse(fmt))
    except ValueError as exc:
        raise ValueError(f"the format {fmt!r} is malformed: {exc}") from None
    for literal, field, spec, conversion in parsed:
        mark = next((mark for mark in _MARKS if field is not None and literal.endswith(mark)), "")
        if field == "":
            raise ValueError(f"the format {fmt!r} has a field without a name")
        if conversion and conversion not in "DdFHPrsa":
            raise ValueError(f"the format {fmt!r} is malformed: there is no conversion !{conversion}")
        yield _Part(literal.removesuffix(mark), mark, field, conversion, spec or "")


def _renderer(part: _Part) -> Callable[[Any], str]:
    literal, conversion, spec = part.literal, part.conversion, part.spec
    if part.field is None:
        return lambda _obj: literal
    get = _getter(part.field)
    if conversion is None:
        return lambda obj: literal + show(get(obj), spec)
    return lambda obj: literal + show(convert(get(obj), conversion), spec)


def _getter(field: str) -> Callable[[Any], Any]:
    """Looks a field up; what is below one that an object has not got shows as nothing."""
    get = attrgetter(field)
    parent = attrgetter(field.rpartition(".")[0]) if "." in field else None
    return get if parent is None else lambda obj: "" if parent(obj) is None else get(obj)


def _nearest(field: str, fields: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(field, list(fields), 1)
    return f", did you mean '{near[0]}'?" if near else ""


def _ranking(get: Callable[[Any], Any]) -> Callable[[Any], tuple[int, Any]]:
    return lambda item: _rank(get(item))


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return 1, value
    text = "" if value is None else str(value)
    return (2, text) if text else (0, 0)


def _columns(width: int) -> int:
    if width:
        return width
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return -1


def _cut(line: str, columns: int) -> str:
    return line[: columns - 1] + "+" if 0 < columns < len(line) else line
