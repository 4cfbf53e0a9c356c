"""`flux config`: get, check, change and reload the configuration of an instance (flux-config(1))."""

from __future__ import annotations

import json
import sys

from flux.errors import FluxError
from flux_cli.common import Action, CommandError, Parser, die, dispatch, open_flux

TYPE_CHECKING = False
TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from typing import Any


def command(argv: list[str]) -> int:
    return dispatch("config", "Get, check, change and reload the configuration.", ACTIONS, argv)


# -- get


def _get_arguments(parser: Parser) -> None:
    parser.add_argument("key", nargs="?", metavar="KEY", help="with periods: table.key (default: everything)")
    parser.add_argument("-t", "--type", choices=SHOW, default="any", metavar="TYPE", help=f"one of {', '.join(SHOW)}")
    parser.add_argument("-d", "--default", metavar="VALUE", help="print this for a key that is not set")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing of a key that is not set")
    parser.add_argument("-c", "--config-path", metavar="PATH", help="read these files in place of a running instance's")


def _get(args: Namespace) -> int:
    conf = _read(args.config_path) if args.config_path else _running()
    try:
        value = find(conf, args.key)
    except KeyError:
        if args.default is not None:
            print(args.default)
            return 0
        if not args.quiet:
            die(f"{args.key} is not set")
        return 1
    try:
        print(SHOW[args.type](value))
    except ValueError:
        raise CommandError(f"{args.key or 'the configuration'} does not have the requested type", 1) from None
    return 0


def find(conf: Any, key: str | None) -> Any:
    """The value at table.key. KeyError when there is none."""
    for part in key.split(".") if key else ():
        if not isinstance(conf, dict):
            raise KeyError(key)
        conf = conf[part]
    return conf


def _any(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _only(*types: type) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        if type(value) not in types:
            raise ValueError(value)
        return _any(value)

    return show


def _seconds(value: Any) -> float:
    from flux.util import parse_fsd

    if not isinstance(value, str):
        raise ValueError(value)
    return parse_fsd(value)


def _fsd(value: Any) -> str:
    _seconds(value)
    return str(value)


SHOW: dict[str, Callable[[Any], str]] = {
    "any": _any,
    "string": _only(str),
    "integer": _only(int),
    "real": _only(float),
    "boolean": _only(bool),
    "object": _only(dict),
    "array": _only(list),
    "fsd": _fsd,
    "fsd-integer": lambda value: str(int(_seconds(value))),
    "fsd-real": lambda value: f"{_seconds(value):.6f}",
}


# -- files


def _running() -> dict[str, Any]:
    with open_flux() as handle:
        conf: dict[str, Any] = handle.rpc("config.get").get()
        return conf


def _read(path: str) -> dict[str, Any]:
    from flux.configfile import read_config

    try:
        return read_config(path)
    except FluxError as exc:
        die(str(exc))


def _path_argument(parser: Parser) -> None:
    parser.add_argument("path", nargs="?", metavar="PATH", help="TOML or JSON file, or directory of *.toml files")


def _load_arguments(parser: Parser) -> None:
    _path_argument(parser)
    _all_argument(parser)


def _all_argument(parser: Parser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="change nothing unless all brokers accept")


def _check(args: Namespace) -> int:
    from flux.configfile import unknown_tables

    conf = _read(args.path) if args.path else _from_stdin()
    lines = unknown_tables(conf)
    for line in lines:
        print(f"flux-config: {line}", file=sys.stderr)
    return 1 if lines else 0


def _load(args: Namespace) -> int:
    conf = _read(args.path) if args.path else _from_stdin()
    with open_flux() as handle:
        handle.rpc(*(("config.change-all", {"conf": conf}) if args.all else ("config.load", conf))).get()
    return 0


def _from_stdin() -> dict[str, Any]:
    import tomllib

    text = sys.stdin.read()
    try:
        conf = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as exc:
        die(f"standard input: {exc}")
    assert isinstance(conf, dict)
    return conf


def _reload(args: Namespace) -> int:
    with open_flux() as handle:
        if args.follower_noop and handle.attr_get("rank") != "0":
            return 0
        handle.rpc("config.change-all" if args.all else "config.reload", {}).get()
    return 0


def _reload_arguments(parser: Parser) -> None:
    _all_argument(parser)
    parser.add_argument("--follower-noop", action="store_true", help="do nothing on another rank than 0")


# -- this installation


def _builtin(args: Namespace) -> int:
    from flux.installation import builtin_values

    values = builtin_values()
    if args.name not in values:
        die(f"{args.name} is invalid: there are {', '.join(values)}")
    print(values[args.name])
    return 0


def _builtin_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the value")
    parser.add_argument("--intree", action="store_true", help="accepted; there is one answer")
    parser.add_argument("--installed", action="store_true", help="accepted; there is one answer")


# -- single values


def _change(change: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    with open_flux() as handle:
        handle.rpc("config.load", change(handle.rpc("config.get").get())).get()
    return 0


def _set_arguments(parser: Parser) -> None:
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("value", metavar="VALUE", help="in JSON; what is no JSON is a string")


def _set(args: Namespace) -> int:
    try:
        value = json.loads(args.value)
    except ValueError:
        value = args.value
    *tables, name = args.key.split(".")

    def change(conf: dict[str, Any]) -> dict[str, Any]:
        table = conf
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                die(f"{args.key}: {part} is a value, not a table")
        table[name] = value
        return conf

    return _change(change)


def _unset(args: Namespace) -> int:
    *tables, name = args.key.split(".")

    def change(conf: dict[str, Any]) -> dict[str, Any]:
        try:
            del find(conf, ".".join(tables))[name]
        except (KeyError, TypeError):
            die(f"{args.key} is not set")
        return conf

    return _change(change)


ACTIONS = {
    "get": Action(_get, "print the configuration, or the value of a KEY", _get_arguments),
    "builtin": Action(_builtin, "print a value of this installation", _builtin_arguments),
    "check": Action(_check, "check files without loading them", _path_argument),
    "load": Action(_load, "replace the configuration by that of a PATH or standard input", _load_arguments),
    "reload": Action(_reload, "read the instance's configuration files again", _reload_arguments),
    "set": Action(_set, "change a single value until the next reload", _set_arguments),
    "unset": Action(
        _unset, "remove a single value until the next reload", lambda parser: parser.add_argument("key", metavar="KEY")
    ),
}
