"""Formats of lists: columns that are left out or widened, order, and what shows as nothing (flux-jobs(1))."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flux.output_format import FormatError, OutputFormat

HEADINGS = {"name": "NAME", "size": "SIZE", "when": "WHEN", "part": "PART"}


def _item(name: str = "", size: Any = "", when: float = 0.0, part: Any = "") -> Any:
    return SimpleNamespace(name=name, size=size, when=when, part=part)


def _lines(fmt: str, items: list[Any], capsys: pytest.CaptureFixture[str], **options: Any) -> list[str]:
    OutputFormat(fmt, HEADINGS).print_items(items, **options)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("fmt", "items", "lines"),
    [
        ("{size} ?:{name:<4}|", [_item(size=1), _item(size=2)], ["SIZE|", "1|", "2|"]),
        ("<{size}>[?:{name:<4}]", [_item(size=1)], ["<SIZE]", "<1]"]),
        ("?:{name:<4}|{size}", [_item(size=1), _item("a", 2)], ["NAME|SIZE", "    |1", "a   |2"]),
        ("+:{name:<2.2}|", [_item("abcdef"), _item("g")], ["NAME  |", "abcdef|", "g     |"]),
        ("+:{name}|", [_item("a")], ["NAME|", "a   |"]),
        ("{size}?+:{name:>9}", [_item(size=1)], ["SIZE", "1"]),
        ("?+:{part!P:>2}|", [_item(part=0.5), _item(part=0.0005)], [" PART|", "  50%|", "0.05%|"]),
        ("sort:-size {name}", [_item("a", 1), _item("b", ""), _item("c", "x")], ["NAME", "c", "a", "b"]),
        ("{name:<3.3+}|", [_item("abcd"), _item("abc")], ["NAME|", "ab+|", "abc|"]),
    ],
)
def test_columns_fit_what_is_shown(
    fmt: str, items: list[Any], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _lines(fmt, items, capsys) == lines


def test_widths_count_no_heading_that_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert _lines("+:{name}|", [_item("a")], capsys, no_header=True) == ["a|"]


@pytest.mark.parametrize("fmt", ["{name!P}", "{name!F:>5}", "{name:nope}", "{name:foo}", "+:{name!D}"])
def test_a_value_that_cannot_be_shown_so_is_named(fmt: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FormatError, match="cannot show a value: "):
        _lines(fmt, [_item("a", "b")], capsys)


def test_lines_are_cut_at_a_width(capsys: pytest.CaptureFixture[str]) -> None:
    assert _lines("{name:>4}{size:>6}", [_item("a", 1)], capsys, width=6) == ["NAME +", "   a +"]


@pytest.mark.parametrize(
    ("fmt", "line"),
    [
        ("{when!d:%Y::>6h}|{when!d:%Y::>6}|{when!d:%Y}|", "     -|      ||"),
        ("{part!P:>6}|{part!P:>3h}|{part!H:h}|{part!F:h}", "      |  -|-|-"),
        ("{name:>3h}|{size:>3d}|", "  -|   |"),
    ],
)
def test_what_is_not_there_shows_as_nothing(fmt: str, line: str) -> None:
    assert OutputFormat(fmt, HEADINGS).format(_item()) == line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00:01"), (59.6, "0:01:00"), (90061.0, "1 day, 1:01:01"), (0.0, "0:00:00")]
)
def test_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert OutputFormat("{part!H}", HEADINGS).format(_item(part=seconds)) == text


@pytest.mark.parametrize(
    ("fmt", "error"),
    [
        ("{nam}", "Unknown format field: nam, did you mean 'name'"),
        ("sort:sizes {name}", "Invalid sort key: sizes, did you mean 'size'"),
        ("{name", "the format '{name' is malformed"),
        ("{name!q}", "there is no conversion !q"),
        ("{}", "a field without a name"),
    ],
)
def test_wrong_formats_are_refused(fmt: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        OutputFormat(fmt, HEADINGS)
