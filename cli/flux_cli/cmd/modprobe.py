"""`flux modprobe`: load modules with what they need, and remove them with what only they needed (flux-modprobe(1))."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from flux_cli.common import Action, Parser, die, dispatch, open_flux, print_json
from flux_cli.module_steps import load_module, loaded_modules, module_words, remove_module

if TYPE_CHECKING:
    from flux_cli.module_graph import ModuleGraph
    from flux_kernel.composition_check import Declared

_ALL = "all"


def command(argv: list[str]) -> int:
    return dispatch("modprobe", "Load and remove modules with what depends on them.", ACTIONS, argv)


def _composed(args: argparse.Namespace) -> ModuleGraph:
    """What the composition says."""
    from flux_cli.module_graph import read_graph
    from flux_kernel.composition import find_composition

    return read_graph(find_composition(args.plugins, args.config_path))


def _graph(args: argparse.Namespace) -> ModuleGraph:
    """The same with the choices of the command line and of FLUX_MODPROBE_DISABLE."""
    graph = _composed(args)
    for choice in getattr(args, "set_alternative", []):
        service, equals, name = choice.partition("=")
        if not service or not equals:
            die(f"--set-alternative: '{choice}' is not SERVICE=MODULE")
        graph.choose(service, name)
    for name in _disabled(args):
        graph.disable(name)
    return graph


def _disabled(args: argparse.Namespace) -> list[str]:
    words = [os.environ.get("FLUX_MODPROBE_DISABLE", ""), *getattr(args, "disable", [])]
    return [name for name in ",".join(words).split(",") if name]


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


def _run_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="a Python file of tasks")
    parser.add_argument("--show-deps", action="store_true", help="only print what each step comes after, as JSON")
    _rc_arguments(parser)


def _question_arguments(parser: Parser) -> None:
    add = parser.add_argument
    add("module", metavar="MODULE", help="a module, or a service that one provides")
    add("-S", "--set-alternative", action="append", default=[], metavar="SERVICE=MODULE", help="as if it provided it")
    add("-D", "--disable", action="append", default=[], metavar="NAME,...", help="as if they were not enabled")
    _file_arguments(parser)


def _tree_arguments(parser: Parser) -> None:
    _question_arguments(parser)
    parser.add_argument("-f", "--full", action="store_true", help="show a module again where it is needed again")


# -- load, remove, rc1, rc3, run


def _load(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        names = graph.with_needs(args.modules, loaded_modules(handle))
        if not names:
            print("flux-modprobe: All modules and dependencies are already loaded", file=sys.stderr)
        _load_each(handle, graph, names, args.dry_run)
    return 0


def _load_each(handle: Any, graph: ModuleGraph, names: list[str], dry_run: bool, verbose: bool = False) -> None:
    for name in names:
        module = graph.modules[name]
        words = module_words(module)
        if dry_run or verbose:
            print(" ".join(["load", name, *words]))
        if not dry_run:
            load_module(handle, module, words)


def _remove(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        loaded = loaded_modules(handle)
        everything = _ALL in args.modules
        wanted = graph.removable(loaded) if everything else [graph.loaded_name(word, loaded) for word in args.modules]
        _remove_each(handle, graph.without(wanted, loaded), args.dry_run)
    return 0


def _remove_each(handle: Any, names: list[str], dry_run: bool, verbose: bool = False) -> None:
    for name in names:
        if dry_run or verbose:
            print(f"remove {name}")
        if not dry_run:
            remove_module(handle, name)


def _rc1(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        rank = int(handle.attr_get("rank"))
        loaded = loaded_modules(handle)
        mine = [name for name, module in graph.modules.items() if graph.is_enabled(name) and rank in module.rank_set]
        names = [name for name in graph.in_order(mine) if name not in loaded]
        _load_each(handle, graph, names, args.dry_run, args.verbose)
    return 0


def _rc3(args: argparse.Namespace) -> int:
    graph = _graph(args)
    with open_flux() as handle:
        loaded = loaded_modules(handle)
        _remove_each(handle, graph.without(graph.removable(loaded), loaded), args.dry_run, args.verbose)
    return 0


def _run(args: argparse.Namespace) -> int:
    from flux.modprobe import Context
    from flux_cli.modprobe_run import TaskFile, execute

    context = Context(args.verbose)
    try:
        file = TaskFile(args.file, _composed(args), context, _disabled(args))
        if args.show_deps:
            print_json({name: sorted(others) for name, others in file.plan.after.items()}, indent=None)
        elif args.dry_run:
            for name in file.plan.after:
                print(file.title(name))
        else:
            return execute(file.plan.after, file.do)
    finally:
        context.close()
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
    "run": Action(_run, "run the tasks of a file, and load the modules they ask for", _run_arguments),
    "rc1": Action(_rc1, "load what the composition enables here and is not loaded", _rc_arguments),
    "rc3": Action(_rc3, "remove all modules that the broker can do without", _rc_arguments),
}
