"""`flux plugins`: list, check and change what an instance is composed of (flux-plugins(1)).

Works without an instance: it reads plugins.toml and what is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from flux import discovery
from flux.discovery import KINDS, PLANNED_KINDS, Entry, Index, PluginError, nearest
from flux.pluginsfile import Problem
from flux_cli.common import Action, Parser, die, dispatch
from flux_kernel import composition


class Row(NamedTuple):
    """One line of `flux plugins list`."""

    name: str
    kind: str
    version: str
    origin: str
    state: str
    ranks: str
    target: str


def command(argv: list[str]) -> int:
    try:
        return dispatch("plugins", "List and choose the plugins of an instance.", ACTIONS, argv)
    except UnicodeDecodeError as exc:
        die(f"the composition is not UTF-8: {exc}")


def _file_arguments(parser: Parser) -> None:
    parser.add_argument("--plugins", metavar="FILE", help="the composition to look at")
    parser.add_argument("-c", "--config-path", metavar="DIR", help="configuration directory to find plugins.toml in")


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-k", "--kind", choices=KINDS, metavar="KIND", help=f"only one of {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="as a JSON array of objects")
    _file_arguments(parser)


def _check_arguments(parser: Parser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="default: the composition that would be used")
    _file_arguments(parser)


def _switch_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-k", "--kind", choices=KINDS, metavar="KIND", help="which kind, if NAME is of several")
    parser.add_argument("-f", "--force", action="store_true", help="even if the composition cannot start then")
    _file_arguments(parser)


def _init_arguments(parser: Parser) -> None:
    parser.add_argument("file", nargs="?", default="plugins.toml", metavar="FILE", help="default: plugins.toml")
    parser.add_argument("--copy", action="store_true", help="a copy of the default, instead of a file that extends it")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite FILE")


# list


def _list(args: argparse.Namespace) -> int:
    installed = discovery.index()
    path = composition.find_composition(args.plugins, args.config_path)
    current = composition.load_composition(path, installed=installed)
    rows = [row for row in _rows(path, current, installed) if args.kind in (None, row.kind)]
    if args.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        _print_table(rows)
    _mention_problems(path, current.check())
    return 0


def _mention_problems(path: str, problems: list[Problem]) -> None:
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        print(f"flux-plugins: {path} has {count}, see flux plugins check", file=sys.stderr)


def _rows(path: str, current: composition.Composition, installed: Index) -> list[Row]:
    """Named plugins in the order of the file, then what else is installed, then what is shadowed."""
    planned = {} if current.check() else {(p.kind, p.name): p.ranks for p in current.plugins()}
    rows = []
    named = set()
    for table in composition.tables(path):
        named.add((table.kind, table.name))
        entry = _resolve(table.kind, table.use, installed)
        ranks = planned.get((table.kind, table.name), str(table.values.get("ranks", "")))
        rows.append(_row(table.name, table.kind, entry, "enabled" if table.enabled else "disabled", ranks))
    for kind, entries in installed.entries.items():
        state = "available" if kind in PLANNED_KINDS else "enabled"
        rest = (entry for name, entry in sorted(entries.items()) if (kind, name) not in named)
        rows.extend(_row(entry.name, kind, entry, state) for entry in rest)
    rows.extend(_row(entry.name, entry.kind, entry, "shadowed") for entry in installed.shadows)
    return sorted(rows, key=lambda row: KINDS.index(row.kind))


def _resolve(kind: str, use: str, installed: Index) -> Entry | None:
    try:
        return discovery.resolve(kind, use, installed)
    except PluginError:
        return None  # listed as "missing"; `flux plugins check` says why


def _row(name: str, kind: str, entry: Entry | None, state: str, ranks: str = "") -> Row:
    if entry is None:
        return Row(name, kind, "", "", "missing" if state == "enabled" else state, ranks, "")
    return Row(name, kind, entry.version, entry.origin, state, ranks, entry.target)


def _print_table(rows: list[Row]) -> None:
    lines = [("NAME", "KIND", "VERSION", "STATE", "RANKS", "ORIGIN")]
    lines += [(r.name, r.kind, r.version or "-", r.state, r.ranks or "-", r.origin or "-") for r in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


# check


def _check(args: argparse.Namespace) -> int:
    current = composition.load_composition(args.file or args.plugins, args.config_path)
    problems = current.check()
    for problem in problems:
        print(problem)
    if problems:
        return 1
    count = len(current.plugins())
    print(f"ok: {count} plugin{'s' if count != 1 else ''}")
    return 0


# enable, disable


def _enable(args: argparse.Namespace) -> int:
    return _switch(args, True)


def _disable(args: argparse.Namespace) -> int:
    return _switch(args, False)


def _switch(args: argparse.Namespace, enabled: bool) -> int:
    from flux_cli.composition_edit import set_enabled, write_text

    path = _editable(args)
    installed = discovery.index()
    kind = _kind_of(args, path, installed)
    before = Path(path).read_bytes().decode()
    known = composition.compose(path, before, installed).check()
    _refuse_syntax_errors(known)
    after = set_enabled(before, kind, args.name, enabled)
    if not args.force:
        _refuse_new_problems(args.name, enabled, known, composition.compose(path, after, installed).check())
    if after != before:
        write_text(Path(path), after)
    return 0


def _editable(args: argparse.Namespace) -> str:
    path = composition.find_composition(args.plugins, args.config_path)
    explicit = args.plugins is not None
    if path == composition.default_path() and not (explicit and os.access(path, os.W_OK)):
        die(
            f"{path} is the installed default and stays as it is; begin your own with `flux plugins init FILE`,"
            " then name it with --plugins=FILE or FLUX_PLUGINS=FILE"
        )
    return path


def _kind_of(args: argparse.Namespace, path: str, installed: Index) -> str:
    tables = composition.tables(path)
    known = {(table.kind, table.name) for table in tables}
    known |= {(kind, name) for kind, entries in installed.entries.items() for name in entries}
    kinds = [kind for kind in KINDS if (kind, args.name) in known and args.kind in (None, kind)]
    if not kinds:
        what = f"{args.kind} plugin" if args.kind else "plugin"
        guess = nearest(args.name, {name for kind, name in known if args.kind in (None, kind)})
        hint = f'; did you mean "{guess}"?' if guess else ""
        die(f'no {what} "{args.name}" is installed or named in {path}{hint}')
    started = [kind for kind in kinds if kind in PLANNED_KINDS]
    if len(started) == 1:
        return started[0]  # a service and its command share a name: the composition is about services
    if len(kinds) > 1:
        die(f'"{args.name}" is the name of several plugins, say which with --kind={"|".join(kinds)}')
    return kinds[0]


def _refuse_syntax_errors(problems: list[Problem]) -> None:
    broken = [problem for problem in problems if problem.message.startswith("not valid TOML")]
    if broken:
        die(f"{broken[0]}; nothing was changed")


def _refuse_new_problems(name: str, enabled: bool, before: list[Problem], after: list[Problem]) -> None:
    seen = {(problem.culprit, problem.message) for problem in before}
    new = [str(problem) for problem in after if (problem.culprit, problem.message) not in seen]
    if new:
        verb = "enabled" if enabled else "disabled"
        die("\n  ".join([f'"{name}" is not {verb} (--force does it anyway), because then', *new]))


# init


def _init(args: argparse.Namespace) -> int:
    from flux_cli.composition_edit import STARTER, write_text

    path = Path(args.file)
    if path.exists() and not args.force:
        die(f"{path} exists, --force overwrites it")
    if args.copy:
        write_text(path, Path(composition.default_path()).read_text(encoding="utf-8"))
    else:
        write_text(path, STARTER)
    print(f"{path}: use it with --plugins={path}, FLUX_PLUGINS={path.absolute()}, or in a configuration directory")
    return 0


ACTIONS = {
    "list": Action(_list, "list plugins and their state", _list_arguments),
    "check": Action(_check, "find the mistakes in a composition", _check_arguments),
    "enable": Action(_enable, "make an instance use a plugin", _switch_arguments),
    "disable": Action(_disable, "make an instance do without a plugin", _switch_arguments),
    "init": Action(_init, "begin a composition of your own", _init_arguments),
}
