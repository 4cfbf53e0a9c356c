"""`flux job attach` (flux-job(1))."""

from __future__ import annotations

from flux_cli.common import Parser, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def attach_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("-E", "--show-events", action="store_true", help="show the job's events on stderr")
    parser.add_argument("-X", "--show-exec", action="store_true", help="show the shells' events on stderr")
    parser.add_argument("-l", "--label-io", action="store_true", help="begin lines of output with the task's rank")
    parser.add_argument("-i", "--stdin-ranks", default="all", metavar="RANKS", help="tasks that get stdin (all)")
    parser.add_argument("-r", "--read-only", action="store_true", help="only look: leave stdin and signals alone")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="-v shows events, -vv those of shells too")


def attach(args: argparse.Namespace) -> int:
    from flux_cli.attach import Attach

    with open_flux() as handle:
        return Attach(
            handle,
            args.id,
            label=args.label_io,
            stdin=None if args.read_only else args.stdin_ranks,
            show_events=args.show_events or args.verbose > 0,
            show_exec=args.show_exec or args.verbose > 1,
            interactive=not args.read_only,
        ).run()
