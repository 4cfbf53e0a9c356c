"""Read plugins.toml (see plugins.toml(5)) into tables, remembering on which line each key stands.

Nothing here knows which plugins exist; this file is about the form: syntax, kinds, keys and their types.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from flux.discovery import KINDS, PLANNED_KINDS, nearest
from flux.tomlplaces import Path, locate

__all__ = ["LINK_KEYS", "Place", "Problem", "Source", "Table", "read_source", "read_tables"]

LINK_KEYS = ("requires", "after", "before")
RESTARTS = ("never", "on-failure")
_MODULES_ONLY = ("command", "restart", "restart-limit", "restart-delay")
_PLANNED_ONLY = ("ranks", "isolated", *LINK_KEYS, *_MODULES_ONLY)
_TYPES: dict[str, tuple[Any, str]] = {
    "use": (str, "a string: an installed name, a dotted path or a file"),
    "enabled": (bool, "true or false"),
    "args": (dict, "an inline table such as { name = value }"),
    "ranks": (str, 'a string such as "all", "0" or "1-3"'),
    "isolated": (bool, "true or false"),
    "command": (list, 'an array with a program and its arguments, such as ["/usr/bin/flux", "module-exec", "x.so"]'),
    "restart": (str, '"never" or "on-failure"'),
    "restart-limit": (int, "a number of restarts, at least 1"),
    "restart-delay": ((int, float), "a number of seconds, 0 or more"),
    **dict.fromkeys(LINK_KEYS, (list, 'an array of plugin names such as ["kvs"]')),
}
_IN_RANGE: dict[str, Callable[[Any], bool]] = {
    "command": bool,
    "restart": RESTARTS.__contains__,
    "restart-limit": lambda number: number >= 1,
    "restart-delay": lambda seconds: 0 <= seconds < float("inf"),
}


class Problem(msgspec.Struct, frozen=True):
    """One mistake in a composition: where, in which table or key, what is wrong, what would be right."""

    file: str
    line: int
    column: int
    culprit: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        culprit = f"[{self.culprit}]: " if self.culprit else ""
        hint = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return f"{where}: {culprit}{self.message}{hint}"


class Place(NamedTuple):
    """A position in a composition file; lines and columns count from 1, 0 is "the file as a whole"."""

    file: str
    line: int = 0
    column: int = 0


def problem_at(place: Place, culprit: str, message: str, suggestion: str = "") -> Problem:
    return Problem(place.file, place.line, place.column, culprit, message, suggestion)


class Table(msgspec.Struct):
    """One `[KIND.NAME]`: the keys that were given in `values`, where each stands in `places` ("args.x" too)."""

    kind: str
    name: str
    place: Place
    values: dict[str, Any]
    places: dict[str, Place]

    @property
    def title(self) -> str:
        return f"{self.kind}.{self.name}"

    @property
    def enabled(self) -> bool:
        return bool(self.values.get("enabled", True))

    @property
    def use(self) -> str:
        """What to load; a file relative to the composition that names it, made absolute."""
        use = str(self.values.get("use", self.name))
        if "/" not in use and not use.endswith(".py"):
            return use
        return os.path.abspath(os.path.join(os.path.dirname(self.place_of("use").file), use))

    def links(self, key: str) -> list[str]:
        return list(self.values.get(key, ()))

    def place_of(self, key: str) -> Place:
        return self.places.get(key, self.place)

    def problem(self, key: str, message: str, suggestion: str = "") -> Problem:
        """A problem with `key` of this table, or with the table itself when `key` is "" or not in it."""
        known = key in self.places
        return problem_at(self.place_of(key), f"{self.title}.{key}" if known else self.title, message, suggestion)

    def override(self, other: Table) -> None:
        """Take over what `other` states; arguments are merged one by one."""
        args = {**self.values.get("args", {}), **other.values.get("args", {})}
        self.values.update(other.values)
        if args:
            self.values["args"] = args
        self.places.update(other.places)
        self.place = other.place


class Source(NamedTuple):
    """A composition as written: its tables in the order of the file, and what is wrong with its form."""

    tables: list[Table]
    extends_default: bool
    problems: list[Problem]


def read_source(file: str, text: str) -> Source:
    """The tables of `text`, which stands in `file`; a broken table is left out and reported."""
    try:
        document = tomllib.loads(text)
    except ValueError as exc:  # a TOMLDecodeError, or Python's own limit on the digits of a number
        return Source([], False, [_syntax_problem(file, text, str(exc))])
    except RecursionError:
        return Source([], False, [_syntax_problem(file, text, "nested too deeply")])
    reader = _Reader(file, locate(text))
    reader.read(document)
    return Source(reader.tables, document.get("extends") == "default", reader.problems)


def read_tables(texts: Mapping[str, str], path: str, default: str) -> tuple[list[Table], list[Problem]]:
    """The tables of the file `path`, laid over those of the file `default` when it extends that one."""
    source = read_source(path, texts[path])
    if not source.extends_default:
        return source.tables, source.problems
    base = read_source(default, texts[default])
    merged = {table.title: table for table in base.tables}
    for table in source.tables:
        if table.title in merged:
            merged[table.title].override(table)
        else:
            merged[table.title] = table
    return list(merged.values()), [*source.problems, *base.problems]


class _Reader:
    def __init__(self, file: str, positions: dict[Path, tuple[int, int]]) -> None:
        self.file = file
        self.positions = positions
        self.tables: list[Table] = []
        self.problems: list[Problem] = []

    def place(self, path: Path) -> Place:
        """Where `path` stands, else the nearest thing around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return Place(self.file, *self.positions.get(path, (0, 0)))

    def report(self, path: Path, message: str, suggestion: str = "") -> None:
        self.problems.append(problem_at(self.place(path), ".".join(path), message, suggestion))

    def read(self, document: dict[str, Any]) -> None:
        for key, value in document.items():
            if key == "extends":
                if value != "default":
                    self.report((key,), 'the only composition that can be extended is "default"')
            elif key not in KINDS:
                known = (*KINDS, "extends")
                self.report((key,), f'there is no kind "{key}", kinds are {", ".join(KINDS)}', nearest(key, known))
            elif not isinstance(value, dict):
                self.report((key,), f"expected tables [{key}.NAME]")
            else:
                self.read_kind(key, value)

    def read_kind(self, kind: str, tables: dict[str, Any]) -> None:
        for name, values in tables.items():
            if isinstance(values, dict):
                self.tables.append(self.read_table(kind, name, values))
            else:
                self.report((kind, name), f"expected a table [{kind}.{name}]")

    def read_table(self, kind: str, name: str, values: dict[str, Any]) -> Table:
        path = (kind, name)
        good = {key: value for key, value in values.items() if self.is_good(kind, (*path, key), value)}
        places = {key: self.place((*path, key)) for key in good}
        for option in good.get("args", {}):
            places[f"args.{option}"] = self.place((*path, "args", option))
        return Table(kind, name, self.place(path), good, places)

    def is_good(self, kind: str, path: Path, value: Any) -> bool:
        key = path[-1]
        keys = [k for k in _TYPES if kind in PLANNED_KINDS or k not in _PLANNED_ONLY]
        if kind != "modules":
            keys = [k for k in keys if k not in _MODULES_ONLY]
        if key not in keys:
            other = "class attribute `provides`" if key == "provides" else ""
            reason = f"it is the {other} that says so" if other else f"keys of {kind} are {', '.join(keys)}"
            self.report(path, f'there is no key "{key}": {reason}', nearest(key, keys) if not other else "")
            return False
        wanted, description = _TYPES[key]
        names_only = wanted is not list or (isinstance(value, list) and all(isinstance(v, str) for v in value))
        if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool) or not names_only:
            self.report(path, f"expected {description}, not {_toml_type(value)}")
            return False
        if key in _IN_RANGE and not _IN_RANGE[key](value):
            self.report(path, f"expected {description}, not {value!r}", nearest(str(value), RESTARTS))
            return False
        return True


def _toml_type(value: Any) -> str:
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string", list: "an array"}
    described = names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")
    return f"{described} of other things" if described == "an array" else described


def _syntax_problem(file: str, text: str, reason: str) -> Problem:
    position = re.search(r" \(at line (\d+), column (\d+)\)$", reason)
    line, column = (int(n) for n in position.groups()) if position else (text.count("\n") + 1, 0)
    reason = re.sub(r" \(at .*\)$", "", reason)
    twice = re.match(r"Cannot declare \((.*)\) twice", reason)
    if twice is None:
        return Problem(file, line, column, "", f"not valid TOML: {reason}")
    path = tuple(re.findall(r"'([^']*)'", twice[1]))
    first = locate(text).get(path, (0, 0))[0]
    return Problem(file, line, column, ".".join(path), f"a second table of this name, the first is on line {first}")
