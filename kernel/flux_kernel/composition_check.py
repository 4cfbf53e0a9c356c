"""Declare and check: what each plugin of a composition says of itself, and whether it all fits together.

Everything that is wrong is found in one go, before anything starts (plugins.toml(5), section CHECKS).
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from flux import cachefile
from flux.cachefile import FileStamp
from flux.discovery import (
    PLANNED_KINDS,
    Entry,
    Index,
    Origin,
    PluginError,
    load_entry,
    nearest,
    predicate,
    resolve,
)
from flux.idset import IDset
from flux.module.foreign import Foreign
from flux.pluginsfile import LINK_KEYS, Problem, Table
from flux.startorder import start_order
from flux_kernel.composition_plan import STAGES, PlannedPlugin

_EVERYWHERE = IDset("0-4294967293")


class Checked(msgspec.Struct):
    """The outcome of a check. `files` are the sources whose declarations it rests on."""

    plugins: list[PlannedPlugin]
    available: dict[str, dict[str, Entry]]
    files: list[FileStamp]
    problems: list[Problem]


class Declared(msgspec.Struct):
    """A table of the composition joined with what its class declares."""

    table: Table
    entry: Entry
    cls: Any
    ranks: str
    rank_set: IDset
    stage: str
    services: tuple[str, ...]
    links: dict[str, list[str]]
    options: dict[str, Any]

    @property
    def id(self) -> str:
        return self.table.title

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def isolated(self) -> bool:
        return bool(self.table.values.get("isolated", False))

    def planned(self) -> PlannedPlugin:
        return PlannedPlugin(
            self.name,
            self.table.kind,
            self.entry,
            self.options,
            self.isolated,
            self.stage,
            self.ranks,
            self.services,
            tuple(self.table.values.get("command", ())),
            _restart(self.table),
        )


def check(tables: list[Table], installed: Index) -> Checked:
    """Resolve, declare and check `tables`; the plugins come back in the order in which they start."""
    checker = Checker(tables, installed)
    declared = list(checker.declare())
    order = checker.relate(declared)
    plugins = [plugin.planned() for plugin in order]
    problems = sorted(checker.problems, key=lambda problem: (problem.file, problem.line, problem.column))
    return Checked(plugins, checker.available(), [cachefile.stamp(f) for f in sorted(checker.files)], problems)


class Checker:
    """Collects the problems of one composition."""

    def __init__(self, tables: list[Table], installed: Index) -> None:
        self.tables = tables
        self.installed = installed
        self.problems: list[Problem] = []
        self.files: set[str] = set()
        self._duplicates = dict(installed.duplicates())
        self._resolved: dict[str, Entry] = {}

    def report(self, table: Table, key: str, message: str, suggestion: str = "") -> None:
        self.problems.append(table.problem(key, message, suggestion))

    # one plugin at a time

    def declare(self) -> Iterator[Declared]:
        """What each enabled plugin that the broker starts says of itself; the others are only looked up."""
        for table in self.tables:
            if "command" in table.values:
                yield from self._declare_foreign(table)
                continue
            entry = self._resolve(table)
            if entry is None:
                continue
            self._resolved[table.title] = entry
            if not table.enabled or not (table.kind in PLANNED_KINDS or entry.is_file):
                continue
            cls = self._load(table, entry)
            if cls is not None and table.kind in PLANNED_KINDS:
                yield self._declare_class(table, entry, cls)

    def available(self) -> dict[str, dict[str, Entry]]:
        """Per kind that the broker does not start: every plugin installed or named, unless disabled."""
        result = {k: dict(v) for k, v in self.installed.entries.items() if k not in PLANNED_KINDS}
        for table in self.tables:
            if table.kind in PLANNED_KINDS:
                continue
            if not table.enabled:
                result[table.kind].pop(table.name, None)
            elif table.title in self._resolved:
                result[table.kind][table.name] = self._resolved[table.title]
        return result

    def _resolve(self, table: Table) -> Entry | None:
        try:
            entry = resolve(table.kind, table.use, self.installed)
        except PluginError as exc:
            self.report(table, "use", exc.plain, exc.suggestion)
            return None
        rival = self._duplicates.get(entry)
        if rival is not None:
            both = f'"{entry.dist}" ({entry.target}) and "{rival.dist}" ({rival.target})'
            self.report(table, "use", f"two distributions install this plugin: {both}; say which with use = TARGET")
        return entry

    def _load(self, table: Table, entry: Entry) -> Any:
        try:
            loaded, origin = load_entry(entry)
        except PluginError as exc:
            where = f" ({exc.place})" if exc.place else ""
            self.report(table, "use", exc.plain + where, exc.suggestion)
            return None
        self._remember_files(loaded, origin)
        if table.kind not in PLANNED_KINDS:
            return loaded
        if not predicate(table.kind)(loaded):
            self.report(table, "use", f"{entry.target} is no plugin class for {table.kind}")
            return None
        return loaded

    def _remember_files(self, loaded: Any, origin: Origin) -> None:
        options = getattr(loaded, "options_type", None)
        classes = [*getattr(loaded, "__mro__", ()), *getattr(options, "__mro__", ())]
        modules = (sys.modules.get(cls.__module__) for cls in classes)
        files = {origin.file, *(getattr(module, "__file__", None) or "" for module in modules)}
        self.files |= {file for file in files if file.endswith(".py") and os.path.isabs(file)}

    def _declare_class(self, table: Table, entry: Entry, cls: Any) -> Declared:
        ranks, rank_set = self._ranks(table, cls)
        stage = getattr(cls, "stage", "run") if table.kind == "modules" else "boot"
        if stage not in STAGES:
            self.report(table, "use", f'{cls.__name__}.stage is "{stage}", it must be "boot" or "run"')
            stage = "run"
        links = {key: [*self._words(table, cls, key), *table.links(key)] for key in LINK_KEYS}
        links["requires"] += ["supervise"] * bool(_restart(table))
        services = (table.name, *self._words(table, cls, "provides"))
        if table.values.get("isolated") and (table.kind != "modules" or not getattr(cls, "isolatable", True)):
            self.report(table, "isolated", f"{cls.__name__} must run in the broker's process, it cannot be isolated")
        if issubclass(cls, Foreign):
            options = msgspec.to_builtins(table.values.get("args", {}))
        else:
            options = self._options(table, self._options_type(table, cls))
        return Declared(table, entry, cls, ranks, rank_set, stage, services, links, options)

    def _declare_foreign(self, table: Table) -> Iterator[Declared]:
        """A module that a program of somebody else runs says nothing of itself."""
        for key in ("use", "isolated"):
            if key in table.values:
                self.report(table, key, "a module with a command of its own is what that runs, in its own process")
        if table.enabled:
            entry = Entry(table.name, "modules", shlex.join(table.values["command"]))
            yield self._declare_class(table, entry, Foreign)

    def _words(self, table: Table, cls: Any, attribute: str) -> list[str]:
        words = getattr(cls, attribute, ())
        if isinstance(words, (tuple, list)) and all(isinstance(word, str) for word in words):
            return list(words)
        self.report(table, "use", f"{cls.__name__}.{attribute} must be a tuple of names, not {words!r}")
        return []

    def _ranks(self, table: Table, cls: Any) -> tuple[str, IDset]:
        ranks = table.values.get("ranks", getattr(cls, "ranks", "all"))
        try:
            return ranks, _EVERYWHERE if ranks == "all" else _nonempty(IDset(ranks))
        except (ValueError, TypeError) as exc:
            source = "ranks" if "ranks" in table.values else "use"
            self.report(table, source, f'bad ranks "{ranks}", expected "all" or an idset such as "0,2-5": {exc}')
            return "all", _EVERYWHERE

    # arguments

    def _options_type(self, table: Table, cls: Any) -> Any:
        found = getattr(cls, "options_type", None)
        if found is None or (isinstance(found, type) and issubclass(found, msgspec.Struct)):
            return found
        self.report(table, "use", f"{cls.__name__}.options_type must be a msgspec.Struct type, not {found!r}")
        return None

    def _options(self, table: Table, type: Any) -> dict[str, Any]:
        """The arguments as plain data, after a check of each against the field it is for."""
        args: dict[str, Any] = table.values.get("args", {})
        fields = {field.encode_name: field for field in msgspec.structs.fields(type)} if type else {}
        spellings = {spelling: name for name in fields for spelling in (name, name.replace("_", "-"))}
        before = len(self.problems)
        for name, value in args.items():
            if name not in spellings:
                takes = f"options are {', '.join(fields)}" if fields else "it takes none"
                self.report(table, f"args.{name}", f'there is no option "{name}": {takes}', nearest(name, spellings))
            else:
                self._convert(table, f"args.{name}", value, fields[spellings[name]].type)
        result: dict[str, Any] = msgspec.to_builtins({spellings.get(k, k): v for k, v in args.items()})
        if type and len(self.problems) == before:
            self._convert(table, "args", result, type)
        return result

    def _convert(self, table: Table, key: str, value: Any, type: Any) -> None:
        try:
            msgspec.convert(value, type)
        except msgspec.ValidationError as exc:
            self.report(table, key, str(exc).replace("`", ""))

    # plugins among each other

    def relate(self, declared: list[Declared]) -> list[Declared]:
        """Check names, services, requirements and order; returns the start order, bootstrap methods first."""
        methods = [plugin for plugin in declared if plugin.table.kind == "bootstrap"]
        started = [plugin for plugin in declared if plugin.table.kind != "bootstrap"]
        providers = _providers(started)
        self._check_unique(providers)
        for plugin in started:
            self._check_requirements(plugin, providers)
            self._check_link_names(plugin, providers)
        after = self._edges(started, providers)
        return [*methods, *self._order(started, after)]

    def _check_unique(self, providers: Mapping[str, list[Declared]]) -> None:
        reported: set[tuple[str, str]] = set()
        for service, plugins in providers.items():
            for i, second in enumerate(plugins):
                for first in plugins[:i]:
                    if (first.id, second.id) in reported or first.rank_set.isdisjoint(second.rank_set):
                        continue
                    reported.add((first.id, second.id))
                    self.report(second.table, "", _clash(service, first, second))

    def _check_requirements(self, plugin: Declared, providers: Mapping[str, list[Declared]]) -> None:
        broken = {table.name for table in self.tables if table.enabled and table.name not in providers}
        for service in dict.fromkeys(plugin.links["requires"]):
            key = "requires" if service in plugin.table.links("requires") else ""
            ranks = IDset().union(*(provider.rank_set for provider in providers.get(service, ())))
            if service not in providers and service in broken:
                continue  # what is wrong with that one has been reported
            if service not in providers:
                self.report(plugin.table, key, *self._missing(service, providers))
            elif 0 not in ranks and not plugin.rank_set.issubset(ranks):
                text = f'requires "{service}", which runs on ranks {ranks} only, neither on rank 0 nor on all of'
                self.report(plugin.table, key, f'{text} "{plugin.ranks}"')

    def _missing(self, service: str, providers: Iterable[str]) -> tuple[str, str]:
        disabled = next((t for t in self.tables if t.name == service and not t.enabled), None)
        text = f'requires "{service}", which no enabled plugin provides'
        if disabled is not None:
            return f"{text}: [{disabled.title}] is disabled ({disabled.place.file}:{disabled.place.line})", ""
        if self.installed.find("modules", service):
            return f"{text}: add [modules.{service}]", ""
        return text, nearest(service, {*providers, *self.installed.names("modules")})

    def _check_link_names(self, plugin: Declared, providers: Mapping[str, list[Declared]]) -> None:
        """A name written here must exist. A class may name an optional plugin, but not misspell one."""
        known = {*providers, *(table.name for table in self.tables)}
        known |= {name for kind in ("modules", "transports") for name in self.installed.entries[kind]}
        for key in ("after", "before"):
            for name in plugin.links[key]:
                own = name in plugin.table.links(key)
                guess = nearest(name, known, 0.6 if own else 0.8)
                if name not in known and (own or guess):
                    self.report(plugin.table, key, f'{key} names "{name}", which is no plugin', guess)

    def _edges(self, started: list[Declared], providers: Mapping[str, list[Declared]]) -> dict[str, set[str]]:
        after: dict[str, set[str]] = {plugin.id: set() for plugin in started}
        for plugin in started:
            for name in dict.fromkeys([*plugin.links["requires"], *plugin.links["after"]]):
                self._link(after, plugin, providers.get(name, ()), name)
            for name in plugin.links["before"]:
                for follower in providers.get(name, ()):
                    self._link(after, follower, [plugin], plugin.name)
        return after

    def _link(self, after: dict[str, set[str]], later: Declared, earlier: Iterable[Declared], name: str) -> None:
        for plugin in earlier:
            if later.stage == "boot" and plugin.stage == "run":
                text = f'cannot start after "{name}": it starts before the instance is joined (stage boot)'
                self.report(later.table, "", f'{text}, "{plugin.name}" later (stage run)')
            else:
                after[later.id].add(plugin.id)

    def _order(self, started: list[Declared], after: Mapping[str, set[str]]) -> list[Declared]:
        by_id = {plugin.id: plugin for plugin in started}
        priority = {
            plugin.id: (STAGES.index(plugin.stage), PLANNED_KINDS.index(plugin.table.kind), position)
            for position, plugin in enumerate(started)
        }
        order, circles = start_order(list(by_id), after, priority)
        for circle in circles:
            names = " after ".join(by_id[id].name for id in circle)
            self.report(by_id[circle[0]].table, "", f"the start order goes in a circle: {names}")
        return [by_id[id] for id in order]


def _restart(table: Table) -> dict[str, float]:
    if table.values.get("restart", "never") == "never":
        return {}
    return {"limit": table.values.get("restart-limit", 3), "delay": table.values.get("restart-delay", 1.0)}


def _providers(started: list[Declared]) -> dict[str, list[Declared]]:
    providers: dict[str, list[Declared]] = {}
    for plugin in started:
        for service in dict.fromkeys(plugin.services):
            providers.setdefault(service, []).append(plugin)
    return providers


def _clash(service: str, first: Declared, second: Declared) -> str:
    where = f"[{first.id}] ({first.table.place.file}:{first.table.place.line})"
    if first.name == second.name:
        return f'two plugins of one name "{service}", the other is {where}'
    return f'provides "{service}" on the same ranks as {where}; disable one of them, or give them other ranks'


def _nonempty(ids: IDset) -> IDset:
    if not ids:
        raise ValueError("no rank is named")
    return ids
