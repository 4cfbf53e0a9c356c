"""`flux kvs get` and `readlink`: what is stored under a key (flux-kvs(1))."""

from __future__ import annotations

import argparse
import errno
import sys

from flux.constants import (
    FLUX_KVS_READLINK,
    FLUX_KVS_STREAM,
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_UNIQ,
)
from flux.errors import FluxError
from flux_cli.common import Action, CommandError, Parser, die, open_flux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.kvs import Lookup
    from flux.kvs.treeobj import TreeObj

__all__ = ["ACTIONS", "add_at", "add_namespace", "key_error", "not_negative", "positive"]

_OPTIONS = {
    "watch": FLUX_KVS_WATCH,
    "waitcreate": FLUX_KVS_WAITCREATE,
    "stream": FLUX_KVS_STREAM,
    "treeobj": FLUX_KVS_TREEOBJ,
}
_WATCH_OPTIONS = {
    "uniq": FLUX_KVS_WATCH_UNIQ,
    "append": FLUX_KVS_WATCH_APPEND,
    "full": FLUX_KVS_WATCH_FULL,
}


def add_namespace(parser: Parser) -> None:
    parser.add_argument("-N", "--namespace", metavar="NS", help="default: $FLUX_KVS_NAMESPACE, else primary")


def add_at(parser: Parser) -> None:
    parser.add_argument("-a", "--at", metavar="TREEOBJ", help="look up in a snapshot: an RFC 11 dirref")


def positive(text: str) -> int:
    """An argument that counts something (an argparse type)."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return int(text)


def not_negative(text: str) -> int:
    """An argument that counts something, 0 for no limit (an argparse type)."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 on")
    return int(text)


def key_error(key: str, exc: OSError) -> CommandError:
    """What a command says when something is wrong with a key."""
    return CommandError(f"{key}: {exc.strerror}")


def parse_at(text: str | None) -> TreeObj | None:
    """An --at argument."""
    from flux.kvs import treeobj

    return None if text is None else treeobj.decode(text)


# -- get


def _get_arguments(parser: Parser) -> None:
    add_namespace(parser)
    add_at(parser)
    parser.add_argument("-r", "--raw", action="store_true", help="add no newline")
    parser.add_argument("-t", "--treeobj", action="store_true", help="show the RFC 11 object")
    parser.add_argument("-l", "--label", action="store_true", help="show KEY= before the value")
    parser.add_argument("-W", "--waitcreate", action="store_true", help="wait for a key that does not exist")
    parser.add_argument("-w", "--watch", action="store_true", help="show each value the key is given")
    parser.add_argument("-u", "--uniq", action="store_true", help="with --watch: only values that differ")
    parser.add_argument("-A", "--append", action="store_true", help="with --watch: only what is appended")
    parser.add_argument("-f", "--full", action="store_true", help="with --watch: notice changes of directories above")
    parser.add_argument("-S", "--stream", action="store_true", help="show a value piece by piece as it is loaded")
    parser.add_argument("-c", "--count", type=not_negative, metavar="N", help="with --watch: stop after N values")
    parser.add_argument("keys", nargs="+", metavar="KEY")


def _get(args: argparse.Namespace) -> int:
    from flux.kvs import lookup_async

    flags = _get_flags(args)
    with open_flux() as handle:
        at = parse_at(args.at)
        lookups = [(key, lookup_async(handle, key, flags, args.namespace, at)) for key in args.keys]
        if flags & (FLUX_KVS_WATCH | FLUX_KVS_STREAM):
            return _Watch(args).run(handle, lookups)
        for key, lookup in lookups:
            try:
                _show(args, key, lookup.get())
            except FluxError as exc:
                raise key_error(key, exc) from None
    return 0


def _get_flags(args: argparse.Namespace) -> int:
    if args.at is not None and (args.watch or args.waitcreate or args.stream):
        die("a snapshot does not change: --at goes with no --watch, --waitcreate, --stream")
    options = {**_OPTIONS, **_WATCH_OPTIONS} if args.watch else _OPTIONS
    return sum(flag for option, flag in options.items() if getattr(args, option))


class _Watch:
    """Shows what several watches bring until each has ended or enough has been shown."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.left = args.count or 0
        self.error: CommandError | None = None

    def run(self, handle: Any, lookups: list[tuple[str, Lookup]]) -> int:
        for key, lookup in lookups:
            lookup.then(self._on_value, handle, key)
        handle.reactor_run()
        if self.error is not None:
            raise self.error
        return 0

    def _on_value(self, lookup: Lookup, handle: Any, key: str) -> None:
        try:
            _show(self.args, key, lookup.get())
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                self.error = key_error(key, exc)
                handle.reactor_stop()
            return
        sys.stdout.flush()
        self.left -= 1
        if self.left == 0:
            handle.reactor_stop()
        else:
            lookup.reset()


def _show(args: argparse.Namespace, key: str, obj: TreeObj | None) -> None:
    from flux.kvs import treeobj

    assert obj is not None
    out = sys.stdout.buffer
    text = treeobj.encode(obj) if args.treeobj else treeobj.decode_val(obj)
    label = f"{key}=".encode() if args.label else b""
    newline = b"\n" if text and not args.raw else b""
    out.write(label + text + (newline or (b"\n" if label and not args.raw else b"")))


# -- readlink


def _readlink_arguments(parser: Parser) -> None:
    add_namespace(parser)
    add_at(parser)
    parser.add_argument("-o", "--namespace-only", action="store_true", help="show only the target's namespace, if any")
    parser.add_argument("-k", "--key-only", action="store_true", help="show only the target's key")
    parser.add_argument("keys", nargs="+", metavar="KEY")


def _readlink(args: argparse.Namespace) -> int:
    from flux.kvs import lookup_async

    with open_flux() as handle:
        at = parse_at(args.at)
        for key in args.keys:
            try:
                link = lookup_async(handle, key, FLUX_KVS_READLINK, args.namespace, at).get()
            except FluxError as exc:
                raise key_error(key, exc) from None
            print(_link_text(args, link["data"]))
    return 0


def _link_text(args: argparse.Namespace, link: dict[str, str]) -> str:
    namespace, target = link.get("namespace", ""), link["target"]
    if not namespace:
        return target
    if args.namespace_only:
        return namespace
    return target if args.key_only else f"{namespace}::{target}"


ACTIONS = {
    "get": Action(_get, "show the value of keys", _get_arguments),
    "readlink": Action(_readlink, "show where symlinks lead", _readlink_arguments),
}
