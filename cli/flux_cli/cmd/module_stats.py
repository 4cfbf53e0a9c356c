"""`flux module stats` and `flux module debug`: the default methods of every module (flux-module(1), RFC 5)."""

from __future__ import annotations

import argparse

from flux_cli.common import Parser, die, open_flux, print_json
from flux_cli.module_ranks import add_rank_option, each_rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def stats_arguments(parser: Parser) -> None:
    parser.add_argument("module", nargs="?", default="broker", metavar="MODULE", help="default: broker")
    parser.add_argument("-p", "--parse", metavar="OBJNAME", help="only this value: key names joined by periods")
    parser.add_argument("-t", "--type", choices=("int", "double"), help="print the value as this type")
    parser.add_argument("-s", "--scale", type=float, metavar="N", help="multiply the value by N")
    add_rank_option(parser)
    parser.add_optional_value(
        "-R",
        "--rusage",
        const="self",
        choices=("self", "children", "thread"),
        help="resource usage, as getrusage(2) has it, instead of statistics",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-c", "--clear", action="store_true", help="clear the statistics")
    what.add_argument("-C", "--clear-all", action="store_true", help="clear the statistics on all ranks")


def stats(args: argparse.Namespace) -> int:
    if args.rusage and (args.clear or args.clear_all):
        die("--rusage shows something, --clear and --clear-all do not")
    topic, payload = f"{args.module}.stats-get", None
    if args.clear:
        topic = f"{args.module}.stats-clear"
    elif args.rusage:
        topic, payload = f"{args.module}.rusage", {"who": args.rusage}
    with open_flux() as handle:
        if args.clear_all:
            handle.event_publish(f"{args.module}.stats-clear")
            return 0
        return each_rank(handle, args.rank, topic, payload, lambda found: _show(found, args))


def _show(found: Any, args: argparse.Namespace) -> None:
    if args.clear:
        _done("cleared", args)
    else:
        print_value(walk(found, args.parse) if args.parse else found, args.type, args.scale)


def _done(text: str, args: argparse.Namespace) -> None:
    """An outcome is shown when there are several."""
    if args.rank:
        print(text)


def walk(found: Any, path: str) -> Any:
    """The value at a path such as "rx.request"; a number selects from an array."""
    value, seen = found, "the result"
    for key in path.split("."):
        if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            die(f"{seen} has no '{key}'{_keys_of(value)}")
        seen = f"'{key}'"
    return value


def _keys_of(value: Any) -> str:
    if isinstance(value, dict):
        return f": it has {', '.join(sorted(value))}"
    return f": it is an array of {len(value)}" if isinstance(value, list) else ": it is a single value"


def print_value(value: Any, kind: str | None, scale: float | None) -> None:
    """Print a value; a number as kind ("int", "double" or None for that of the value), multiplied by scale."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        if kind is not None or scale is not None:
            die("--type and --scale are for a number, choose one with --parse")
        print_json(value, indent=1)
        return
    scaled = value if scale is None else value * scale
    print(int(scaled) if (kind or type(value).__name__) == "int" else f"{scaled:.6f}")


def _mask(text: str) -> int:
    """A number as C writes it: 0x for hexadecimal, a leading 0 for octal."""
    digits = text.lower()
    octal = len(digits) > 1 and digits.startswith("0") and digits.isdecimal()
    try:
        return int(digits, 8 if octal else 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from None


def debug_arguments(parser: Parser) -> None:
    parser.add_argument("module", nargs="?", default="broker", metavar="MODULE", help="default: broker")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-C", "--clear", action="store_true", help="set the flags to 0")
    what.add_argument("-S", "--set", type=_mask, metavar="MASK", help="set the flags to MASK")
    what.add_argument("-c", "--clearbit", type=_mask, metavar="MASK", help="clear the bits of MASK")
    what.add_argument("-s", "--setbit", type=_mask, metavar="MASK", help="set the bits of MASK")
    add_rank_option(parser)
    what.add_argument(
        "--defer",
        action=argparse.BooleanOptionalAction,
        help="keep back what the module sends, until --no-defer lets all of it go",
    )


def debug(args: argparse.Namespace) -> int:
    if args.defer is not None:
        with open_flux() as handle:
            payload = {"name": args.module, "defer": args.defer}
            return each_rank(handle, args.rank, "module.debug", payload, lambda _answer: _done("done", args))
    op, flags = "setbit", 0  # setting no bit changes nothing, and the answer has the flags
    if args.clear:
        op = "clr"
    for name, value in (("set", args.set), ("clrbit", args.clearbit), ("setbit", args.setbit)):
        if value is not None:
            op, flags = name, value
    with open_flux() as handle:
        payload = {"op": op, "flags": flags}
        topic = f"{args.module}.debug"
        return each_rank(handle, args.rank, topic, payload, lambda found: print(f"{found['flags']:#x}"))
