"""`flux modprobe`: load modules with what they need, and remove them with what only they needed (flux-modprobe(1))."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from flux_cli.common import Action, Parser, die, dispatch, open_flux, print_json

if TYPE_CHECKING:
    from flux_cli.module_graph import ModuleGraph
    from flux_kernel.composition_check import Declared

_ALL = "all"


def command(argv: list[str]) -> int:
    return dispatch("modprobe", "Load and remove modules with what depends on them.", ACTIONS, argv)


def _graph(args: argparse.Namespace) -> ModuleGraph:
    """What the composition says, with the choices of the command line and of FLUX_MODPROBE_DISABLE."""
    from flux_cli.module_graph import read_graph
    from flux_kernel.composition import find_composition

    graph = read_graph(find_composition(args.plugins, args.config_path))
    for choice in getattr(args, "set_alternative", []):
        service, equals, name = choice.partition("=")
        if not service or not equals:
            die(f"--set-alternative: '{choice}' is not SERVICE=MODULE")
        graph.choose(service, name)
    words = [os.environ.get("FLUX_MODPROBE_DISABLE", ""), *getattr(args, "disable", [])]
    for name in filter(None, ",".join(words).split(",")):
        graph.disable(name)
    return graph


def _file_arguments(parser: Parser) -> None:
    parser.add_argument("--plugins", metavar="FILE", help="the composition to go by")
    parser.add_argument("-c", "--config-path", metavar="DIR", help="configuration directory to find plugins.toml in")


def _change_arguments(parser: Parser) -> None:
    parser.add_argument("--dry-run", "--dry", action="store_true", help="only say what would be done")
    _file_arguments(parser)


def _names_arguments(parser: Parser) -> None:
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="a module, or a service that one provides")
    _change_arguments(parser)


def _rc_arguments(parser: Parser) -> None:
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    _change_arguments(parser)


def _question_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("module", metavar="MODULE", help="a module, or a service that one provides")
    add("-S", "--set-alternative", action="append", default=[], metavar="SERVICE=MODULE", help="as if it provided it")
    add("-D", "--disable", action="append", default=[], metavar="NAME,...", help="as if they were not enabled")
    _file_arguments(parser)


def _tree_arguments(parser: Parser) -> None:
    _question_arguments(parser)
    parser.add_argument("-f", "--full", action="store_true", help="show a module again where it is needed again")


# -- load, remove, rc1, rc3


def _loaded(handle: Any) -> dict[str, list[str]]:
    """Services by name of each module that the broker has."""
    return {module["name"]: module["services"] for module in handle.rpc("module.list").get()["mods"]}


def _load(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        names = graph.with_needs(args.modules, _loaded(handle))
        if not names:
            print("flux-modprobe: All modules and dependencies are already loaded", file=sys.stderr)
        _load_each(handle, graph, names, args.dry_run)
    return 0


def _load_each(handle: Any, graph: ModuleGraph, names: list[str], dry_run: bool, verbose: bool = False) -> None:
    from flux.module.options import encode_args

    for name in names:
        module = graph.modules[name]
        options = encode_args(module.table.values.get("args", {}))
        payload = {"path": module.entry.target, "name": name, "args": options, "exec": module.isolated}
        if "command" in module.table.values:
            payload |= {"path": name, "command": module.table.values["command"]}
        if dry_run or verbose:
            print(" ".join(["load", name, *options]))
        if not dry_run:
            handle.rpc("module.load", payload).get()


def _remove(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        loaded = _loaded(handle)
        wanted = (
            _removable(graph, loaded) if _ALL in args.modules else [_name_of(word, loaded) for word in args.modules]
        )
        boot = [name for name in wanted if name in graph.modules and graph.modules[name].stage == "boot"]
        if boot:
            die(f"{boot[0]} is part of the broker, which cannot do without it")
        _remove_each(handle, graph.without(wanted, loaded), args.dry_run)
    return 0


def _name_of(word: str, loaded: dict[str, list[str]]) -> str:
    if word in loaded:
        return word
    return next((name for name, services in loaded.items() if word in services), "") or die(
        f"module {word} is not loaded"
    )


def _removable(graph: ModuleGraph, loaded: dict[str, list[str]]) -> list[str]:
    """All that the composition names and the broker can do without."""
    return [name for name in loaded if name in graph.modules and graph.modules[name].stage == "run"]


def _remove_each(handle: Any, names: list[str], dry_run: bool, verbose: bool = False) -> None:
    for name in names:
        if dry_run or verbose:
            print(f"remove {name}")
        if not dry_run:
            handle.rpc("module.remove", {"name": name}).get()


def _rc1(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        rank = int(handle.attr_get("rank"))
        loaded = _loaded(handle)
        mine = [name for name, module in graph.modules.items() if graph.is_enabled(name) and rank in module.rank_set]
        names = [name for name in graph.in_order(mine) if name not in loaded]
        _load_each(handle, graph, names, args.dry_run, args.verbose)
    return 0


def _rc3(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        loaded = _loaded(handle)
        _remove_each(handle, graph.without(_removable(graph, loaded), loaded), args.dry_run, args.verbose)
    return 0


# -- show, list-dependencies


def _show(args: argparse.Namespace) -> int:
    graph = _graph(args)
    module = graph.find(args.module)
    own = [service for service in module.services if service != module.name]
    print_json(
        {
            "name": module.name,
            "module": module.entry.target,
            "args": module.table.values.get("args", {}),
            "ranks": module.ranks,
            "provides": own,
            **{key: list(dict.fromkeys(module.links[key])) for key in ("requires", "before", "after")},
            "stage": module.stage,
            "disabled": not graph.is_enabled(module.name),
            "exec": module.isolated,
        }
    )
    return 0


def _list_dependencies(args: argparse.Namespace) -> int:
    graph = _graph(args)
    _print_tree(graph, args.module, graph.find(args.module), _Seen(args.full), ("", ""))
    return 0


class _Seen:
    """Which modules were shown. full: show each wherever it is needed."""

    def __init__(self, full: bool) -> None:
        self._full = full
        self._names: set[str] = set()

    def is_new(self, name: str) -> bool:
        new = self._full or name not in self._names
        self._names.add(name)
        return new


def _print_tree(graph: ModuleGraph, label: str, module: Declared, seen: _Seen, lead: tuple[str, str]) -> None:
    """Print a line, and under it what the module needs. lead: before this line, before those under it."""
    print(lead[0] + (label if label == module.name else f"{label} ({module.name})"))
    needs = [(service, graph.find(service)) for service in graph.needs(module)]
    shown = [(service, needed) for service, needed in needs if seen.is_new(needed.name)]
    for service, needed in shown:
        is_last = (service, needed) == shown[-1]
        under = lead[1] + ("    " if is_last else "│   ")
        _print_tree(graph, service, needed, seen, (lead[1] + ("└── " if is_last else "├── "), under))


ACTIONS = {
    "load": Action(_load, "load modules, and before them what they need", _names_arguments),
    "remove": Action(_remove, "remove modules, and after them what was loaded for them alone", _names_arguments),
    "list-dependencies": Action(_list_dependencies, "show what a module needs as a tree", _tree_arguments),
    "show": Action(_show, "show what the composition says of a module", _question_arguments),
    "rc1": Action(_rc1, "load what the composition enables here and is not loaded", _rc_arguments),
    "rc3": Action(_rc3, "remove all modules that the broker can do without", _rc_arguments),
}
