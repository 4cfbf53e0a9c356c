"""`flux job eventlog` and `flux job wait-event` (flux-job(1), RFC 18)."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import CommandError, Parser, die, open_flux, parse_duration
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.eventlog import Event, EventLogFormatter
    from flux.job.JobID import JobID

_SHORT_PATHS = {"exec": "guest.exec.eventlog", "output": "guest.output", "input": "guest.input"}
_WAITCREATE = 1


def _common_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("-f", "--format", choices=("text", "json"), default="text", help="how to show events (text)")
    parser.add_argument(
        "-T",
        "--time-format",
        choices=("raw", "iso", "offset", "human"),
        default="raw",
        help="how to show times (raw: seconds since the epoch)",
    )
    parser.add_argument("-H", "--human", action="store_true", help="as --time-format=human, in colour on a terminal")
    parser.add_argument("-L", "--color", nargs="?", const="always", default="auto", choices=("never", "always", "auto"))
    parser.add_argument(
        "-p", "--path", default="eventlog", help="another eventlog: guest.exec.eventlog, guest.output, exec, output"
    )


def _path(args: argparse.Namespace) -> str:
    path: str = args.path
    return _SHORT_PATHS.get(path, path)


def _formatter(args: argparse.Namespace) -> EventLogFormatter:
    from flux.eventlog import EventLogFormatter

    coloured = args.color == "always" or (args.color == "auto" and args.human and sys.stdout.isatty())
    return EventLogFormatter(args.format, "human" if args.human else args.time_format, coloured)


# -- eventlog


def eventlog_arguments(parser: Parser) -> None:
    _common_arguments(parser)
    parser.add_argument("-F", "--follow", action="store_true", help="go on until the eventlog ends")


def eventlog(args: argparse.Namespace) -> int:
    formatter, path = _formatter(args), _path(args)
    with open_flux() as handle:
        try:
            if args.follow:
                return _follow(handle, args.id, path, formatter)
            request = {"id": args.id, "keys": [path], "flags": 0}
            text = handle.rpc("job-info.lookup", request).get()[path]
        except OSError as exc:
            raise _not_found(exc, handle, args.id, path) from None
    _print(text, path, formatter)
    return 0


def _print(text: str, path: str, formatter: EventLogFormatter) -> None:
    """Print the events of an eventlog, which anyone may have written: up to the first line that is none."""
    from flux.eventlog import EventlogDecoder

    decoder = EventlogDecoder()
    try:
        for line in text.splitlines(keepends=True):
            for event in decoder.feed(line):
                print(formatter.format(event))
        decoder.finish()
    except ValueError as exc:
        raise CommandError(f"{path}: {exc}") from None


def _not_found(exc: OSError, handle: Any, jobid: JobID, path: str) -> Exception:
    """ENOENT may mean that there is no such job, or no such eventlog."""
    import errno

    if exc.errno != errno.ENOENT:
        return exc
    known = path != "eventlog" and _job_exists(handle, jobid)
    return CommandError(f"eventlog path {path} not found" if known else f"job {jobid.orig} not found")


def _job_exists(handle: Any, jobid: JobID) -> bool:
    try:
        handle.rpc("job-info.lookup", {"id": jobid, "keys": ["eventlog"], "flags": 0}).get()
    except OSError:
        return False
    return True


def _follow(handle: Any, jobid: int, path: str, formatter: EventLogFormatter) -> int:
    from flux.job.event import event_watch_async

    watch = event_watch_async(handle, jobid, path, _flags(path))
    while (event := _next(watch, path)) is not None:
        print(formatter.format(event), flush=True)
    return 0


def _flags(path: str) -> int:
    return _WAITCREATE if path in _SHORT_PATHS.values() else 0


def _next(watch: Any, path: str) -> Event | None:
    """The next event that is watched for; None at the end."""
    from msgspec import convert

    from flux.eventlog import Event

    try:
        event = watch.get_event()
        return None if event is None else convert(dict(event), Event)
    except (KeyError, TypeError, ValueError) as exc:
        what = f"an event has no {exc}" if isinstance(exc, KeyError) else str(exc)
        raise CommandError(f"{path}: a line of the eventlog is no event: {what}") from None


# -- wait-event


def wait_event_arguments(parser: Parser) -> None:
    _common_arguments(parser)
    parser.add_argument("event", metavar="EVENT", help="name of the event")
    parser.add_argument("-t", "--timeout", type=parse_duration, default=-1.0, metavar="FSD", help="longest wait")
    parser.add_argument("-m", "--match-context", metavar="KEY=VAL", help="only an event with this in its context")
    parser.add_argument("-c", "--count", type=int, default=1, metavar="N", help="wait for the Nth such event")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the event")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the events before it as well")
    parser.add_argument("-W", "--waitcreate", action="store_true", help="wait for the eventlog to come into being")


def wait_event(args: argparse.Namespace) -> int:
    import errno
    import time

    from flux.job.event import event_watch_async

    if args.count < 1:
        die(f"--count: count must be > 0, not {args.count}")
    deadline = None if args.timeout < 0 else time.monotonic() + args.timeout
    path = _path(args)
    with open_flux() as handle:
        watch = event_watch_async(handle, args.id, path, _WAITCREATE if args.waitcreate else _flags(path))
        try:
            return _await(args, watch, lambda: -1.0 if deadline is None else max(0.0, deadline - time.monotonic()))
        except OSError as exc:
            if exc.errno == errno.ETIMEDOUT:
                die(f"wait-event timeout on event '{args.event}'")
            raise _not_found(exc, handle, args.id, path) from None


def _await(args: argparse.Namespace, watch: Any, time_left: Any) -> int:
    formatter, left, matches, path = _formatter(args), args.count, _matcher(args), _path(args)
    while True:
        watch.wait_for(time_left())
        event = _next(watch, path)
        if event is None:
            die(f"event '{args.event}' never received")
        found = matches(event)
        left -= found
        line = formatter.format(event)  # of each event: times may be relative to the first
        if args.verbose or (found and not left and not args.quiet):
            print(line, flush=True)
        if found and left <= 0:
            return 0


def _matcher(args: argparse.Namespace) -> Any:
    if args.match_context is None:
        return lambda event: event.name == args.event
    key, equals, text = args.match_context.partition("=")
    if not equals:
        die(f"--match-context: expected KEY=VAL, got '{args.match_context}'")
    from json import dumps

    def matches(event: Event) -> bool:
        if event.name != args.event or key not in event.context:
            return False
        value = event.context[key]
        return text in (value if isinstance(value, str) else dumps(value), dumps(value))

    return matches
