"""`flux kvs eventlog`: RFC 18 eventlogs in the store (flux-kvs(1))."""

from __future__ import annotations

import argparse
import errno
import math
import sys
import time
from collections.abc import Iterator

from flux.constants import FLUX_KVS_STREAM, FLUX_KVS_WAITCREATE, FLUX_KVS_WATCH, FLUX_KVS_WATCH_APPEND
from flux.errors import FluxError
from flux_cli.cmd.kvs_get import add_namespace, key_error, not_negative
from flux_cli.common import Action, Parser, die, open_flux, parse_json_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from flux.core.handle import Flux
    from flux.eventlog import Event

__all__ = ["ACTIONS"]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds")
    return seconds


def _add_reading_options(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("-u", "--unformatted", action="store_true", help="show events as they are stored")
    parser.add_argument("-W", "--waitcreate", action="store_true", help="wait for an eventlog that does not exist")
    parser.add_argument("-H", "--human", action="store_true", help="show times for people, in colour on a terminal")
    parser.add_argument("-L", "--color", nargs="?", const="always", default="auto", choices=("auto", "always", "never"))


def _printer(args: argparse.Namespace) -> Any:
    from flux.eventlog import EventLogFormatter

    coloured = args.color == "always" or (args.color == "auto" and args.human and sys.stdout.isatty())
    form: Literal["text", "json"] = "json" if args.unformatted else "text"
    formatter = EventLogFormatter(form, "human" if args.human else "raw", coloured)
    return lambda event: print(formatter.format(event), flush=True)


def _events(handle: Flux, key: str, namespace: str | None, flags: int, deadline: float = math.inf) -> Iterator[Event]:
    """Events of a log as they come. FluxError ETIMEDOUT at the deadline, in the time of time.monotonic()."""
    from flux.eventlog import EventlogDecoder
    from flux.kvs import lookup_async

    decoder = EventlogDecoder()
    lookup = lookup_async(handle, key, flags, namespace)
    while True:
        try:
            lookup.wait_for(-1.0 if deadline == math.inf else max(0.0, deadline - time.monotonic()))
            events = decoder.feed(lookup.value())
        except ValueError as exc:
            die(f"{key}: {exc}")
        except FluxError as exc:
            if exc.errno == errno.ENODATA and flags & FLUX_KVS_STREAM:
                return
            if exc.errno == errno.ETIMEDOUT:
                raise
            raise key_error(key, exc) from None
        yield from events
        if not flags & (FLUX_KVS_WATCH | FLUX_KVS_STREAM):
            return
        lookup.reset()


# -- get


def _get_arguments(parser: Parser) -> None:
    _add_reading_options(parser)
    parser.add_argument("-w", "--watch", action="store_true", help="show events as they are appended")
    parser.add_argument("-c", "--count", type=not_negative, metavar="N", help="with --watch: stop after N events")
    parser.add_argument("-S", "--stream", action="store_true", help="read a long log piece by piece")
    parser.add_argument("key", metavar="KEY")


def _get(args: argparse.Namespace) -> int:
    show = _printer(args)
    flags = FLUX_KVS_WAITCREATE if args.waitcreate else 0
    if args.watch:
        flags |= FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND
    if args.stream:
        flags |= FLUX_KVS_STREAM
    with open_flux() as handle:
        for count, event in enumerate(_events(handle, args.key, args.namespace, flags), 1):
            show(event)
            if args.watch and count == args.count:
                break
    return 0


# -- append


def _append_arguments(parser: Parser) -> None:
    add_namespace(parser)
    parser.add_argument("-t", "--timestamp", type=_seconds, metavar="SECONDS", help="since the epoch; default: now")
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("name", metavar="NAME", help="of the event")
    parser.add_argument("context", nargs="*", metavar="CONTEXT", help="a JSON object; words are joined by a space")


def _append(args: argparse.Namespace) -> int:
    from flux.eventlog import Event
    from flux.kvs import KVSTxn, commit

    context = parse_json_object(" ".join(args.context)) if args.context else {}
    event = Event(time.time() if args.timestamp is None else args.timestamp, args.name, context)
    with open_flux() as handle:
        commit(handle, namespace=args.namespace, txn=KVSTxn().append(args.key, event.encode()))
    return 0


# -- wait-event


def _wait_event_arguments(parser: Parser) -> None:
    _add_reading_options(parser)
    parser.add_argument("-t", "--timeout", type=_seconds, metavar="SECONDS", help="give up after that time")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not show the event")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the events before it, too")
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("event", metavar="EVENT", help="name of the event to wait for")


def _wait_event(args: argparse.Namespace) -> int:
    show = _printer(args)
    flags = FLUX_KVS_WATCH | FLUX_KVS_WATCH_APPEND | (FLUX_KVS_WAITCREATE if args.waitcreate else 0)
    deadline = math.inf if args.timeout is None else time.monotonic() + args.timeout
    with open_flux() as handle:
        try:
            for event in _events(handle, args.key, args.namespace, flags, deadline):
                found = event.name == args.event
                if args.verbose or (found and not args.quiet):
                    show(event)
                if found:
                    return 0
        except FluxError as exc:
            if exc.errno != errno.ETIMEDOUT:
                raise
            die(f"timeout waiting for event '{args.event}' in {args.key}")
    return 0


ACTIONS = {
    "get": Action(_get, "show the events of a log", _get_arguments),
    "append": Action(_append, "append an event to a log", _append_arguments),
    "wait-event": Action(_wait_event, "wait until a log has an event", _wait_event_arguments),
}
