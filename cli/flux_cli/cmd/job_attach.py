"""`flux job attach` (flux-job(1))."""

from __future__ import annotations

import argparse

from flux_cli.common import Parser, die, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux_cli.attach_status import StatusLine

TAIL = 10
"""Lines that --tail shows when it is not told how many."""


def attach_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("-E", "--show-events", action="store_true", help="show the job's events on stderr")
    parser.add_argument("-X", "--show-exec", action="store_true", help="show the shells' events on stderr")
    parser.add_argument("--show-status", action="store_true", help="show at once what a pending job waits for")
    parser.add_argument("-w", "--wait-event", default="clean", metavar="NAME", help="follow events up to this one")
    parser.add_argument("-l", "--label-io", action="store_true", help="begin lines of output with the task's rank")
    parser.add_argument("-i", "--stdin-ranks", metavar="RANKS", help="tasks that get stdin (all)")
    parser.add_argument("-u", "--unbuffered", action="store_true", help="send stdin as it comes, which is always done")
    parser.add_argument("-r", "--read-only", action="store_true", help="only look: leave stdin and signals alone")
    parser.add_argument("--tail", type=int, metavar="NUM", help=f"show the last NUM lines of earlier output ({TAIL})")
    parser.add_argument("--debug", action="store_true", help="let tasks go on that wait for a debugger")
    parser.add_argument("--debug-emulate", dest="debug", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no warnings and nothing of the shells' log on stderr"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="-v shows events, -vv those of shells too")


def attach(args: argparse.Namespace) -> int:
    from flux_cli.attach import Attach

    if args.read_only and args.stdin_ranks:
        die("Do not use --stdin-ranks with --read-only")
    if args.tail is not None and args.tail < 0:
        die(f"--tail: expected a number of lines, got {args.tail}")
    stdin = _checked(args.stdin_ranks or "all")
    with open_flux() as handle:
        return Attach(
            handle,
            args.id,
            label=args.label_io,
            stdin=None if args.read_only else stdin,
            show_events=args.show_events or args.verbose > 0,
            show_exec=args.show_exec or args.verbose > 1,
            interactive=not args.read_only,
            quiet=args.quiet,
            wait_event=args.wait_event,
            debug=args.debug,
            tail=args.tail,
            status=_status_line(handle, args),
        ).run()


def _checked(ranks: str) -> str:
    from flux.idset import IDset

    try:
        return ranks if ranks == "all" else str(IDset(ranks))
    except ValueError as exc:
        die(f"Invalid value '{ranks}' for --stdin-ranks: {exc}")


def _status_line(handle: Flux, args: argparse.Namespace) -> StatusLine | None:
    from flux_cli.attach_status import StatusLine, is_wanted

    return StatusLine(handle, args.id, at_once=args.show_status) if args.show_status or is_wanted() else None
