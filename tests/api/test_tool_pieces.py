"""What site tools take from flux.util: options, configuration files, items of lists, trees."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flux.util import (
    AltField,
    ColorAction,
    Deduplicator,
    FilterAction,
    FilterActionSetUpdate,
    FilterActionUser,
    FilterTrueAction,
    OutputFormat,
    Tree,
    TreedictAction,
    UtilConfig,
    UtilDatetime,
    YesNoAction,
    help_formatter,
    xdg_searchpath,
)


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tool", formatter_class=help_formatter(argwidth=30))
    parser.add_argument("-f", "--filter", action=FilterActionSetUpdate, default=set(), help="by state")
    parser.add_argument("-u", "--user", action=FilterActionUser)
    parser.add_argument("-a", action=FilterTrueAction, help="all")
    parser.add_argument("-c", "--count", action=FilterAction)
    parser.add_argument("--yes", action=YesNoAction, help="confirm")
    parser.add_argument("--color", action=ColorAction)
    parser.add_argument("-S", "--set", action=TreedictAction, nargs="+", metavar="K=V")
    return parser


def test_defaults_of_options(parser: argparse.ArgumentParser) -> None:
    args = parser.parse_args([])
    assert (args.filter, args.user, args.a, args.yes, args.color) == (set(), None, False, None, "auto")
    assert not hasattr(args, "filtered")


def test_values_of_options(parser: argparse.ArgumentParser) -> None:
    args = parser.parse_args("-f a,b -f c -u me --yes=no --color -S a.b=1 a.c=x".split())
    assert (args.filter, args.user, args.yes) == ({"a", "b", "c"}, "me", False)
    assert args.filtered and args.filtereduser
    assert args.color.enabled and not parser.parse_args(["--color=never"]).color.enabled
    assert args.set == {"a": {"b": "1", "c": "x"}}
    assert parser.parse_args(["-a"]).filtered and parser.parse_args(["-c", "1"]).filtered
    assert parser.get_default("filter") == set()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--yes=q"], "--yes requires either 'yes' or 'no'"),
        (["--color=q"], "Invalid argument to --color: 'q'"),
        (["-S", "a"], "Missing required value for key a"),
    ],
)
def test_wrong_values(
    parser: argparse.ArgumentParser, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(words)
    assert error in capsys.readouterr().err


def test_help(parser: argparse.ArgumentParser) -> None:
    lines = [" ".join(line.split()) for line in parser.format_help().splitlines()]
    assert "-f, --filter=FILTER by state" in lines
    assert "-a all" in lines
    assert "--yes=[yes|no] confirm" in lines


def test_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("site", "user"):
        (tmp_path / name / "flux").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    assert xdg_searchpath("x") == [tmp_path / "user/flux/x", tmp_path / "site/flux/x"]
    (tmp_path / "site/flux/tool.toml").write_text("[list]\nlimit = 1\nwidth = 2\n")
    (tmp_path / "user/flux/tool.json").write_text('{"list": {"limit": 3}}')
    defaults = {"list": {"limit": 0, "depth": 5}, "name": "x"}
    config = UtilConfig("tool", initial_dict=defaults).load()
    assert config.config == {"list": {"limit": 3, "width": 2, "depth": 5}, "name": "x"}
    assert (config.name, config.list["limit"], defaults["list"]) == ("tool", 3, {"limit": 0, "depth": 5})
    assert UtilConfig("tool", subcommand="list").load().limit == 3
    with pytest.raises(AttributeError, match="nosuch"):
        _ = config.nosuch
    (tmp_path / "user/flux/tool.json").write_text("{bad")
    with pytest.raises(ValueError, match=r"tool\.json: Expecting"):
        UtilConfig("tool").load()


def test_formats_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Config(UtilConfig):
        builtin_formats = {"default": {"description": "The usual", "format": "{id}"}}

        def validate(self, path: str, conf: dict[str, Any]) -> None:
            self.validate_formats(path, conf.get("formats", {}))

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "none"))
    (tmp_path / "flux").mkdir()
    file = tmp_path / "flux/tool.toml"
    file.write_text("[formats.mine]\nformat = '{x}'\n")
    config = Config("tool", initial_dict={"formats": Config.builtin_formats}).load()
    assert [config.get_format_string(name) for name in ("mine", "default", "{y}")] == ["{x}", "{id}", "{y}"]
    monkeypatch.setenv("TOOL_FORMAT_DEFAULT", "mine")
    assert config.get_format_string("default") == "{x}"
    with pytest.raises(ValueError, match="No such format nosuch"):
        config.get_format_string("nosuch")
    for name, shown in (("help", "default      The usual"), ("get-config=mine", 'format = "{x}"')):
        with pytest.raises(SystemExit):
            config.get_format_string(name)
        assert shown in capsys.readouterr().out
    file.write_text("[formats.default]\nformat = '{x}'\n")
    with pytest.raises(ValueError, match="override of builtin format 'default'"):
        Config("tool").load()


def test_like_items_are_combined() -> None:
    def combine(item: SimpleNamespace, more: SimpleNamespace) -> None:
        item.n += more.n

    formatter = OutputFormat("{state:>5} {n} {queue}", {"state": "S", "n": "N", "queue": "Q"})
    items = Deduplicator(formatter, except_fields=["n"], combine=combine)
    for state, n, queue in (("up", 1, "a"), ("up", 2, "b"), ("up", 4, "a")):
        items.append(SimpleNamespace(state=state, n=n, queue=queue))
    assert [(item.queue, item.n) for item in items] == [("a", 5), ("b", 2)]


def test_dates_and_spellings() -> None:
    date = UtilDatetime(2024, 2, 3, 4, 5, 6)
    assert f"{date:%b%d %R::>12}|{date}" == " Feb03 04:05|2024-02-03T04:05:06"
    field = AltField("é", "e")
    assert f"{field:>3}{field.ascii:>3}" == "  é  e"


def test_tree_to_a_depth(capsys: pytest.CaptureFixture[str]) -> None:
    tree = Tree("a")
    tree.append("b").append("c")
    tree.add("d")
    tree.render(level=1)
    tree.render(skip_root=True, style="ascii")
    tree.render(skip_root=True, level=1)
    assert capsys.readouterr().out == "a\n├── b\n└── d\nb\n`-- c\nd\nb\nd\n"
