"""`flux module stats` and `flux module debug`: the default methods of every module (flux-module(1), RFC 5)."""

from __future__ import annotations

import argparse
from typing import Any

from flux_cli.common import Parser, die, open_flux, print_json


def stats_arguments(parser: Parser) -> None:
    parser.add_argument("module", nargs="?", default="broker", metavar="MODULE", help="default: broker")
    parser.add_argument("-p", "--parse", metavar="OBJNAME", help="only this value: key names joined by periods")
    parser.add_argument("-t", "--type", choices=("int", "double"), help="print the value as this type")
    parser.add_argument("-s", "--scale", type=float, metavar="N", help="multiply the value by N")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "-R",
        "--rusage",
        nargs="?",
        const="self",
        choices=("self", "children", "thread"),
        help="resource usage, as getrusage(2) has it, instead of statistics",
    )
    what.add_argument("-c", "--clear", action="store_true", help="clear the statistics")
    what.add_argument("-C", "--clear-all", action="store_true", help="clear the statistics on all ranks")


def stats(args: argparse.Namespace) -> int:
    with open_flux() as handle:
        if args.clear:
            handle.rpc(f"{args.module}.stats-clear").get()
            return 0
        if args.clear_all:
            handle.event_publish(f"{args.module}.stats-clear")
            return 0
        if args.rusage:
            found = handle.rpc(f"{args.module}.rusage", {"who": args.rusage}).get()
        else:
            found = handle.rpc(f"{args.module}.stats-get").get()
    value = walk(found, args.parse) if args.parse else found
    print_value(value, args.type, args.scale)
    return 0


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
    """Print a value; a number as kind ("int", "double" or None for as it is), multiplied by scale."""
    if kind is None and scale is None:
        print_json(value, indent=1)
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        die("--type and --scale are for a number, choose one with --parse")
    scaled = value if scale is None else value * scale
    if kind == "int":
        print(int(scaled))
    elif kind == "double" or isinstance(scaled, float):
        print(f"{scaled:.6f}")
    else:
        print(scaled)


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
    what.add_argument(
        "--defer",
        action=argparse.BooleanOptionalAction,
        help="keep back what the module sends, until --no-defer lets all of it go",
    )


def debug(args: argparse.Namespace) -> int:
    if args.defer is not None:
        with open_flux() as handle:
            handle.rpc("module.debug", {"name": args.module, "defer": args.defer}).get()
        return 0
    op, flags = "setbit", 0  # setting no bit changes nothing, and the answer has the flags
    if args.clear:
        op = "clr"
    for name, value in (("set", args.set), ("clrbit", args.clearbit), ("setbit", args.setbit)):
        if value is not None:
            op, flags = name, value
    with open_flux() as handle:
        answer = handle.rpc(f"{args.module}.debug", {"op": op, "flags": flags}).get()
    print(f"{answer['flags']:#x}")
    return 0
