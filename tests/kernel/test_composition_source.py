"""Any text may be in plugins.toml; each gets tables or problems with true line numbers, never a traceback."""

from __future__ import annotations

import tomllib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.discovery import KINDS
from flux.pluginsfile import read_source
from flux.startorder import start_order
from flux.tomlplaces import locate

PLAIN = ["true", "1", "1.5", "nan", "'0-3'", '"x"', "['kvs']", "[1]", "{}", "{a = 1}"]
ODD = ["1979-05-27", "[", "=", "'''\n[a.b]'''"]
values = st.sampled_from([*PLAIN, *ODD])
keys = st.sampled_from(["use", "enabled", "ranks", "args", "after", "extends", "args.x", '"odd key"', "provides", ""])
kinds = st.sampled_from([*KINDS, "modul", "'x y'"])
headers = st.builds("[{}.{}]".format, kinds, st.sampled_from(["a", "b-c", '"d.e"']))
lines = st.one_of(headers, st.builds("{} = {}  # comment".format, keys, values), st.just("# [modules.no]"), st.text())


@given(st.lists(lines, max_size=12).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    source = read_source("f.toml", text)
    for problem in source.problems:
        assert 0 <= problem.line <= text.count("\n") + 1
        assert str(problem).startswith("f.toml")
    assert all(table.kind in KINDS for table in source.tables)


@given(st.lists(st.one_of(headers, st.builds("{} = {}".format, keys, values)), max_size=8).map("\n".join))
def test_every_header_and_key_is_located(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except ValueError:
        return
    positions = locate(text)
    for kind, tables in document.items():
        assert (kind,) in positions
        for name in tables if isinstance(tables, dict) else ():
            assert (kind, name) in positions


def test_lines_within_strings_are_no_headers() -> None:
    text = 'a = """\n[modules.x]\n"""\n[modules.x]\n'
    assert locate(text)["modules", "x"] == (4, 2)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5000, "a = '''\n" + "x\n" * 10])
def test_hostile_text_is_a_syntax_problem(text: str) -> None:
    (problem,) = read_source("f.toml", text).problems
    assert problem.message.startswith("not valid TOML: ")


names = st.lists(st.sampled_from("abcdefgh"), unique=True)
edges = st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh")))


@given(names, edges)
def test_order_respects_every_edge_or_shows_a_circle(names: list[str], after: dict[str, set[str]]) -> None:
    priority = {name: position for position, name in enumerate(names)}
    order, circles = start_order(names, after, priority)
    for position, name in enumerate(order):
        assert after.get(name, set()) & set(names) <= set(order[:position])
    assert (sorted(order) == sorted(names)) == (not circles)
    for circle in circles:
        assert circle[0] == circle[-1]
        assert all(later in after[earlier] for earlier, later in pairwise(circle))


@given(names)
def test_without_edges_priority_decides(names: list[str]) -> None:
    priority = {name: -position for position, name in enumerate(names)}
    assert start_order(names, {}, priority) == (names[::-1], [])
