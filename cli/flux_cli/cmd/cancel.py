"""`flux cancel`: cancel jobs (flux-cancel(1))."""

from __future__ import annotations

from flux_cli.common import Parser, open_flux, warn
from flux_cli.job_bulk import add_selection, parse_states, parse_user, raise_all
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    parser = Parser("cancel", "Cancel jobs.")
    parser.add_argument("jobids", nargs="*", type=parse_id, metavar="JOBID")
    parser.add_argument("--all", action="store_true", help="all jobs of this user")
    add_selection(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say how many jobs that would be")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing about jobs that --all matched")
    parser.add_argument("-m", "--message", metavar="NOTE", help="why, for the job's eventlog")
    args = parser.parse_intermixed_args(argv)
    if args.all == bool(args.jobids):
        parser.error("which jobs? Give job ids, or --all")
    return _cancel_all(args) if args.all else _cancel_each(args)


def _cancel_each(args: Any) -> int:
    from flux.job.kill import cancel_async

    failures = 0
    with open_flux() as handle:
        for jobid, future in [(jobid, cancel_async(handle, jobid, args.message)) for jobid in args.jobids]:
            try:
                future.get()
            except OSError as exc:
                warn("cancel", f"{jobid.orig}: {exc}")
                failures += 1
    return 1 if failures else 0


def _cancel_all(args: Any) -> int:
    with open_flux() as handle:
        states, user = parse_states(args.states), parse_user(args.user)
        count, errors = raise_all(handle, "cancel", 0, args.message, states, user, args.dry_run)
    if not args.quiet:
        print(f"flux-cancel: {'would cancel' if args.dry_run else 'canceled'} {count} jobs ({errors} errors)")
    return 1 if errors else 0
