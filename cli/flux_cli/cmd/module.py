"""`flux module`: load, remove and look at modules (flux-module(1); module.* requests of RFC 5)."""

from __future__ import annotations

import argparse
import os

from flux.errors import FluxError
from flux_cli.cmd import module_stats
from flux_cli.common import Action, Column, Parser, add_list_options, die, dispatch, open_flux, print_list
from flux_cli.message_trace import add_trace_options, trace
from flux_cli.module_ranks import add_rank_option, load_on, on_ranks
from flux_cli.ranks import ranks_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATES = "IRFE"
_ENOENT = 2


def command(argv: list[str]) -> int:
    return dispatch("module", "Load, remove and inspect the modules of a broker.", ACTIONS, argv)


def reference(text: str) -> str:
    """What the broker is to look for: a file by its absolute path, anything else by name or dotted path."""
    if "/" not in text and not text.endswith(".py"):
        return _on_module_path(text) or text
    path = os.path.abspath(text)
    if not os.path.isfile(path):
        die(f"no such module file: {text}")
    return path


def _on_module_path(name: str) -> str:
    """The file of that name in FLUX_MODULE_PATH, "" when there is none."""
    folders = [folder for folder in os.environ.get("FLUX_MODULE_PATH", "").split(":") if folder]
    files = (os.path.join(os.path.abspath(folder), f"{name}.py") for folder in folders)
    return next(filter(os.path.isfile, files), "")


# -- load, remove, reload


def _load_arguments(parser: Parser) -> None:
    parser.add_argument("module", metavar="MODULE", help="a name, a dotted path or the path of a .py file")
    parser.add_argument("args", nargs="*", metavar="KEY=VALUE", help="arguments for the module")
    parser.add_argument("-n", "--name", metavar="NAME", help="load it under another name")
    parser.add_argument("--exec", action="store_true", help="run it in a process of its own")


def _load_only_arguments(parser: Parser) -> None:
    _load_arguments(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--command", metavar="COMMAND", help="loader program that runs MODULE, such as a stock one")
    what.add_argument("--loader", metavar="PATH", help="loader program that runs the file MODULE")
    add_rank_option(parser)
    parser.add_argument("--atomic", action="store_true", help="with --rank: on all of them or on none")


def _load(args: argparse.Namespace) -> int:
    if args.atomic and not args.rank:
        die("--atomic is for loading on several brokers, with --rank")
    if args.command:
        payload = _command_payload(args)
    elif args.loader:
        payload = {**_load_payload(_module_file(args.module), args), "loader": os.path.abspath(args.loader)}
    else:
        payload = _load_payload(reference(args.module), args)
    with open_flux() as handle:
        if args.rank:
            return load_on(handle, ranks_of(handle, args.rank), payload, args.atomic)
        handle.rpc("module.load", payload).get()
    return 0


def _module_file(text: str) -> str:
    if "/" not in text:
        die(f"--loader is for the path of a module's file, which {text} is not")
    return os.path.abspath(text)


def _command_payload(args: argparse.Namespace) -> dict[str, Any]:
    import shlex

    try:
        command = shlex.split(args.command)
    except ValueError as exc:
        die(f"--command: {exc}")
    return {"path": args.module, "name": args.name or args.module, "args": args.args, "command": command}


def _load_payload(path: str, args: argparse.Namespace) -> dict[str, Any]:
    payload = {"path": path, "args": args.args, "exec": args.exec}
    return {**payload, "name": args.name} if args.name else payload


def _request_load(handle: Any, path: str, args: list[str], isolated: bool, name: str | None) -> None:
    payload = {"path": path, "args": args, "exec": isolated}
    if name:
        payload["name"] = name
    handle.rpc("module.load", payload).get()


def _remove_arguments(parser: Parser) -> None:
    parser.add_argument("module", metavar="MODULE", help="name it was loaded under, or path of its file")
    parser.add_argument("-f", "--force", action="store_true", help="no error when it is not loaded")
    parser.add_argument("--cancel", action="store_true", help="end it even if it does not answer")
    add_rank_option(parser)


def _remove(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        if args.rank:
            payload = {"name": _loaded_name(args.module), "cancel": args.cancel}
            failed = on_ranks(handle, ranks_of(handle, args.rank), "module.remove", payload, "removed")
            return 1 if failed and not args.force else 0
        _request_remove(handle, _loaded_name(args.module), args.force, args.cancel)
    return 0


def _loaded_name(text: str) -> str:
    return os.path.abspath(text) if "/" in text or text.endswith(".py") else text


def _request_remove(handle: Any, name: str, force: bool, cancel: bool = False) -> None:
    try:
        handle.rpc("module.remove", {"name": name, "cancel": cancel}).get()
    except FluxError as exc:
        if not force or exc.errno != _ENOENT:
            raise


def _reload_arguments(parser: Parser) -> None:
    _load_arguments(parser)
    parser.add_argument("-f", "--force", action="store_true", help="load it even if it was not loaded")
    parser.add_argument("--cancel", action="store_true", help="end the old one first, even if it does not answer")
    parser.add_argument("--loader", metavar="PATH", help="end the old one first; program that runs the file MODULE")
    add_rank_option(parser)


def _reload(args: argparse.Namespace) -> int:
    if args.cancel or args.loader:
        return _remove_and_load(args)
    with open_flux() as handle:
        if args.rank:
            payload = {"name": args.name or _loaded_name(args.module), "args": args.args, "exec": args.exec}
            return 1 if on_ranks(handle, ranks_of(handle, args.rank), "module.reload", payload, "reloaded") else 0
        loaded = _find_loaded(handle, args.name or _loaded_name(args.module))
        if loaded is None:
            if not args.force:
                die(f"module {args.module} is not loaded (--force loads it anyway)")
            _request_load(handle, reference(args.module), args.args, args.exec, args.name)
            return 0
        path = _path_to_reload(loaded, args.module)
        if "isolated" in loaded:  # a broker of ours, which can exchange one for the other
            handle.rpc(
                "module.reload", {"name": loaded["name"], "path": path, "args": args.args, "exec": args.exec}
            ).get()
            return 0
        _request_remove(handle, loaded["name"], args.force)
        isolated = args.exec or loaded.get("isolated", False)
        _request_load(handle, path, args.args, isolated, loaded["name"])
    return 0


def _remove_and_load(args: argparse.Namespace) -> int:
    """A reload that does not wait for the old module, or is no exchange of one class for another."""
    if args.rank:
        die("--cancel and --loader are for the broker that the command is connected to, not for --rank")
    name = args.name or (_name_of_file(args.module) if args.loader else _loaded_name(args.module))
    with open_flux() as handle:
        loaded = _find_loaded(handle, name)
        if loaded is not None:
            name = loaded["name"]
        payload: dict[str, Any] = {"path": _path_anew(loaded, args), "args": args.args, "exec": args.exec}
        if args.loader:
            payload["loader"] = os.path.abspath(args.loader)
        if loaded is not None or args.name:
            payload["name"] = name
        _request_remove(handle, name, args.force, args.cancel)
        handle.rpc("module.load", payload).get()
    return 0


def _path_anew(loaded: dict[str, Any] | None, args: argparse.Namespace) -> str:
    """Where the module is to come from, found before the old one is ended."""
    if args.loader:
        return _module_file(args.module)
    path = _path_to_reload(loaded, args.module) if loaded is not None else reference(args.module)
    return path or die(f"{args.module} is run by a loader program: name it with --loader, and the module's file")


def _name_of_file(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _find_loaded(handle: Any, wanted: str) -> dict[str, Any] | None:
    modules = handle.rpc("module.list").get()["mods"]
    return next((m for m in modules if wanted in (m["name"], m["path"])), None)


def _path_to_reload(loaded: dict[str, Any], given: str) -> str:
    """Where the module comes from: a file when one is named, else where it was loaded from."""
    if "/" in given or given.endswith(".py"):
        return reference(given)
    origin = str(loaded["path"])
    if " " in origin:  # the command line of a loader, which the broker runs again
        return ""
    return reference(origin) if os.path.isabs(origin) else _on_module_path(given) or origin


# -- list


def _list_arguments(parser: Parser) -> None:
    parser.add_argument("-l", "--long", action="store_true", help="show where each module comes from")
    add_list_options(parser)
    add_rank_option(parser)


def _list(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        modules = _listed_on(handle, args.rank) if args.rank else handle.rpc("module.list").get()["mods"]
    columns = [Column("rank", "Rank", ">")] if args.rank else []
    columns += [
        Column("name", "Module"),
        Column("idle", "Idle", ">"),
        Column("status", "S", show=lambda status: _STATES[status]),
        Column("sendqueue", "Sendq", ">"),
        Column("recvqueue", "Recvq", ">"),
        Column("services", "Service", show=",".join),
    ]
    if args.long:
        columns.append(Column("path", "Path"))
    rows = modules if args.json else [{**module, "remark": _remark(module)} for module in modules]
    if any(row.get("remark") for row in rows):
        columns.append(Column("remark", "Note"))
    print_list(columns, rows, json=args.json, header=not args.no_header)
    return 0


def _listed_on(handle: Any, ranks: str) -> list[dict[str, Any]]:
    """The modules of several brokers, with their ranks."""
    asked = [(rank, handle.rpc("module.list", nodeid=rank)) for rank in ranks_of(handle, ranks)]
    return [{"rank": rank, **module} for rank, answer in asked for module in answer.get()["mods"]]


def _remark(module: dict[str, Any]) -> str:
    """What is out of the ordinary: a process of its own, errors, how it ended."""
    parts = []
    if module.get("isolated") and _STATES[module["status"]] != "E":
        parts.append(f"pid {module['pid']}" if "pid" in module else "isolated")
    restarts = module.get("restarts", 0)
    if restarts:
        parts.append("restarted 1 time" if restarts == 1 else f"restarted {restarts} times")
    errors = module.get("errors", 0)
    if errors:
        parts.append("1 error" if errors == 1 else f"{errors} errors")
    if module.get("note"):
        parts.append(str(module["note"]))
    return ", ".join(parts)


# -- info


def _info_arguments(parser: Parser) -> None:
    parser.add_argument("module", metavar="MODULE", help="a name, a dotted path or the path of a .py file")


def _info(args: argparse.Namespace) -> int:
    from flux.discovery import load

    cls, origin = load("modules", reference(args.module))
    entry = origin.entry
    facts = {
        "Module": cls.name or entry.name,
        "Path": origin.file or entry.target,
        "Class": f"{cls.__module__}:{cls.__qualname__}" if not entry.is_file else cls.__qualname__,
        "Package": f"{entry.dist} {entry.version}".strip(),
        "About": ((cls.__doc__ or "").strip().splitlines() or [""])[0],
        "Services": ", ".join(cls.provides),
        "Requires": ", ".join(cls.requires),
        "Ranks": str(cls.ranks),
        "Methods": ", ".join(_methods(cls)),
        "Arguments": ", ".join(_options(cls)),
    }
    for name, value in facts.items():
        if value:
            print(f"{name + ':':<11} {value}")
    return 0


def _methods(cls: type) -> list[str]:
    found = (getattr(member, "__flux_requests__", ()) for base in cls.__mro__ for member in vars(base).values())
    return sorted({handler.topic for handlers in found for handler in handlers})


def _options(cls: Any) -> list[str]:
    if cls.options_type is None:
        return []
    from msgspec.structs import fields

    return [field.encode_name for field in fields(cls.options_type)]


# -- trace


def _trace_arguments(parser: Parser) -> None:
    parser.add_argument("-T", "--topic", metavar="GLOB", default="*", help="topics to show, * and ? being wildcards")
    add_trace_options(parser)
    parser.add_argument("modules", metavar="MODULE", nargs="*", help="modules to look at, loaded or not (default: all)")


def _trace(args: argparse.Namespace) -> int:
    wish = {"topic_glob": args.topic, "names": args.modules}
    return trace("module.trace", args, wish, width=max(map(len, args.modules), default=0))


ACTIONS = {
    "load": Action(_load, "load a module", _load_only_arguments),
    "remove": Action(_remove, "unload a module", _remove_arguments),
    "unload": Action(_remove, "the same as remove", _remove_arguments),
    "reload": Action(_reload, "exchange a module for a new instance of it", _reload_arguments),
    "list": Action(_list, "list the loaded modules", _list_arguments),
    "info": Action(_info, "show what an installed module is", _info_arguments),
    "stats": Action(module_stats.stats, "show or clear the statistics of a module", module_stats.stats_arguments),
    "debug": Action(module_stats.debug, "show or change the debug flags of a module", module_stats.debug_arguments),
    "trace": Action(_trace, "show the messages that modules take and send, as they pass", _trace_arguments),
}
