"""`flux shutdown`: end an instance in good order (flux-shutdown(1))."""

from __future__ import annotations

import argparse
import errno
import os
import sys

from flux.errors import FluxError
from flux_cli.common import Parser, die, open_flux, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux

WARNING, INFO, DEBUG = 4, 6, 7
_DUMP = "content.dump"
_AUTO = "auto"
_VERBOSE = "--verbose=1"


def _parser() -> Parser:
    parser = Parser("shutdown", "Shut an instance down.")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="URI of an instance, or a job (default: this one)")
    parser.add_argument("--background", action="store_true", help="do not wait for the end")
    parser.add_argument("--quiet", action="store_true", help="show warnings and errors alone")
    parser.add_argument(
        "-v", "--verbose", nargs="?", type=int, const=1, default=0, metavar="LEVEL", help="1: show every log message"
    )
    parser.add_argument("--dump", metavar="PATH", help="dump the key-value store there; auto: as --gc")
    parser.add_argument("--gc", action="store_true", help="dump, for the next start to begin with an archive alone")
    parser.add_argument("--skip-gc", action="store_true", help="do not dump, whatever content.dump is")
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("-y", "--yes", action="store_true", help="answer questions with yes")
    answer.add_argument("-n", "--no", action="store_true", help="answer questions with no")
    return parser


def command(argv: list[str]) -> int:
    parser = _parser()
    args = parser.parse_args([_VERBOSE if word in ("-v", "--verbose") else word for word in argv])
    if args.gc and (args.skip_gc or args.dump):
        parser.error("--gc goes with neither --skip-gc nor --dump")
    level = WARNING if args.quiet else DEBUG if args.verbose else INFO
    with open_flux(_uri(args.target)) as handle:
        _choose_dump(handle, args)
        if args.background:
            handle.rpc("shutdown.start", {"loglevel": level}, 0).get()
        else:
            _follow(handle, level)
    return 0


def _uri(target: str | None) -> str | None:
    if target is None:
        return None
    from flux_cli.uri import resolve

    return resolve(target).nearest


# -- what is dumped


def _attribute(handle: Flux, name: str) -> str:
    try:
        value: str = handle.rpc("attr.get", {"name": name}, 0).get()["value"]
        return value
    except FileNotFoundError:
        return ""


def _choose_dump(handle: Flux, args: argparse.Namespace) -> None:
    """Set or remove the attribute that says where to dump, and say what it comes to."""
    dump = _attribute(handle, _DUMP)
    if args.skip_gc:
        if dump:
            handle.rpc("attr.rm", {"name": _DUMP}, 0).get()
        return
    wanted = os.path.abspath(args.dump) if args.dump and args.dump != _AUTO else args.dump
    if args.gc or (not wanted and _collects(handle, args)):
        wanted = _AUTO
    if wanted and wanted != dump:
        handle.rpc("attr.set", {"name": _DUMP, "value": wanted}, 0).get()
        dump = wanted
    if dump:
        where = os.path.join(_folder(handle), "") if dump == _AUTO else dump
        warn("shutdown", f"shutdown will dump KVS to {where} (this may take some time)")


def _folder(handle: Flux) -> str:
    stays = _attribute(handle, "statedir-cleanup") == "0"
    return os.path.join(_attribute(handle, "statedir") if stays else ".", "dump")


def _collects(handle: Flux, args: argparse.Namespace) -> bool:
    """Whether garbage is to be collected since there were more commits than `kvs.gc-threshold`."""
    threshold = handle.rpc("config.get", nodeid=0).get().get("kvs", {}).get("gc-threshold", 0)
    if not threshold or _version(handle) <= threshold:
        return False
    if args.yes or args.no:
        return bool(args.yes)
    if not sys.stdin.isatty():
        die("gc threshold exceeded, specify -y or -n")
    return _ask("gc threshold exceeded, do you want to perform garbage collection")


def _version(handle: Flux) -> int:
    from flux.kvs import getroot

    try:
        return int(getroot(handle)["rootseq"])
    except FluxError as exc:
        if exc.errno == errno.ENOSYS:
            return 0
        raise


def _ask(question: str) -> bool:
    """Yes or no; an empty answer is yes."""
    while True:
        answer = input(f"{question} [Y/n]? ")
        if answer in ("", "y", "Y", "n", "N"):
            return answer not in ("n", "N")
        print("Please answer y or n")


# -- the log


def _follow(handle: Flux, level: int) -> None:
    from flux.constants import FLUX_RPC_STREAMING

    log = handle.rpc("shutdown.start", {"loglevel": level}, 0, FLUX_RPC_STREAMING)
    begun = False
    while True:
        try:
            print(log.get()["log"].rstrip("\n"), file=sys.stderr, flush=True)
        except FluxError as exc:
            if exc.errno == errno.ENODATA or (begun and exc.errno in _GONE):
                return
            die(str(exc))
        begun = True
        log.reset()


_GONE = (errno.ECONNRESET, errno.EPIPE, errno.EHOSTUNREACH)
