"""flux.util: durations (RFC 23), sizes, dates, and what a command's user sees of a failure."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.util import (
    Fileref,
    OutputFormat,
    Tree,
    check_future_error,
    del_treedict,
    dict_merge,
    encode_payload,
    encode_topic,
    format_size,
    fsd,
    get_treedict,
    interruptible,
    parse_datetime,
    parse_fsd,
    parse_size,
    set_treedict,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2ms", 0.002),
        ("0.1s", 0.1),
        ("30", 30),
        ("1.2h", 4320),
        ("5m", 300),
        ("0s", 0),
        ("5d", 432000),
        ("inf", math.inf),
        ("INF", math.inf),
        ("infinity", math.inf),
        ("1e3s", 1000),
        (".5", 0.5),
    ],
)
def test_rfc_23_vectors(text: str, seconds: float) -> None:
    assert parse_fsd(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "x", "5x", "nan", "inf s", "infs", "5S", "1_0", "٣", " 5", "0x10"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid Flux standard duration") as e:
        parse_fsd(text)
    assert f"'{text}'" in str(e.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.002, "0.002s"),
        (1.5, "1.500s"),
        (16.5234, "16.52s"),
        (90, "1.5m"),
        (3661, "1.017h"),
        (86400, "1d"),
        (math.inf, "inf"),
        (-1, "0s"),
    ],
)
def test_durations_as_shown(seconds: float, text: str) -> None:
    assert fsd(seconds) == text


@given(st.floats(0.01, 1e8))
def test_a_shown_duration_is_close_and_parses(seconds: float) -> None:
    assert math.isclose(parse_fsd(fsd(seconds)), seconds, rel_tol=1e-3, abs_tol=6e-4)


@given(st.integers(0, 2**62), st.sampled_from(["", "K", "M", "G"]))
def test_sizes_round_trip(number: int, unit: str) -> None:
    size = parse_size(f"{number}{unit}")
    assert size == number * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}[unit]
    assert parse_size(format_size(size)) == size


def test_sizes() -> None:
    assert parse_size("1.5k") == 1536 and parse_size("4M") == 4194304 and format_size(10 * 1024**2) == "10M"
    for text in ("", "x", "-1", "10KB", "1 K", "inf"):
        with pytest.raises(ValueError, match=f"invalid size '{text}'"):
            parse_size(text)


def test_dates() -> None:
    now = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_datetime("now", now) == now
    assert parse_datetime("+1h", now) == now + timedelta(hours=1)
    assert parse_datetime("2024-05-01T10:00:00Z") == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert parse_datetime("2024-05-01 10:00") == datetime(2024, 5, 1, 10).astimezone()
    for text in ("", "sometime", "+5x", "1700000000x", "+inf", "+99999999999999d", "9999-12-31T23:59:59-12:00"):
        with pytest.raises(ValueError, match="invalid"):
            parse_datetime(text, now)


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("raise ValueError('no such thing')", 1, "tool: ERROR: no such thing\n"),
        ("sys.exit(7)", 7, ""),
        ("print('fine')", 0, ""),
    ],
)
def test_a_failing_command_says_so_in_one_line(body: str, code: int, stderr: str) -> None:
    program = f"""
import logging, sys
from flux.util import CLIMain
@CLIMain(logging.getLogger('tool'))
def main():
    {body}
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (code, stderr)


# -- what programs find here that print or read as flux commands do


def test_formats_of_a_site_script() -> None:
    shown = OutputFormat("{name:<4}|{size}", headings={"name": "NAME", "size": "SIZE"})
    assert shown.header() == "NAME|SIZE"
    assert shown.format(SimpleNamespace(name="a", size=2)) == "a   |2"


def test_trees(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Tree("top", combine_children=True)
    for label in ("same", "same"):
        tree.append(label)
    tree.append("other").append("leaf")
    tree.append_tree(Tree("last"))
    tree.render()
    assert capsys.readouterr().out.splitlines() == ["top", "├── 2*[same]", "├── other", "│   └── leaf", "└── last"]


def test_dictionaries_by_dotted_paths() -> None:
    found: dict[str, Any] = {}
    set_treedict(found, "a.b.c", 1)
    assert found == {"a": {"b": {"c": 1}}}
    assert get_treedict(found, "a.b") == {"c": 1} and get_treedict(found, "a.x.y", 7) == 7
    with pytest.raises(TypeError, match="value of c is no dictionary"):
        set_treedict(found, "a.b.c.d", 2)
    assert dict_merge(found, {"a": {"e": 3}, "f": [4]}) == {"a": {"b": {"c": 1}, "e": 3}, "f": [4]}
    del_treedict(found, "a.b.c", remove_empty=True)
    assert found == {"a": {"e": 3}, "f": [4]}
    with pytest.raises(KeyError):
        del_treedict(found, "a.b.c")


def test_payloads_and_topics_as_bytes() -> None:
    assert [encode_payload(x) for x in (None, b"b", "\xe4", {"a": [1]})] == [None, b"b", "\xe4".encode(), b'{"a":[1]}']
    assert [encode_topic("a.b"), encode_topic(b"c")] == [b"a.b", b"c"]
    with pytest.raises(OSError, match="topic"):
        encode_topic(None)
    with pytest.raises(TypeError, match="topic"):
        encode_topic(cast(Any, 3))
    assert interruptible(check_future_error(len))([1]) == 1


def test_fileref(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\0")
    (tmp_path / "f").chmod(0o640)
    assert Fileref(str(tmp_path / "f")) == {"mode": 0o100640, "size": 2, "data": "/wA=", "encoding": "base64"}
    assert Fileref({"a": 1}, perms=0o644) == {"mode": 0o100644, "data": {"a": 1}}
    assert Fileref("text", encoding="utf-8")["data"] == "text"
