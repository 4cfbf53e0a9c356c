"""`flux cancel`: cancel jobs (flux-cancel(1))."""

from __future__ import annotations

from flux_cli.common import Parser, die, open_flux, warn
from flux_cli.job_bulk import add_selection, parse_states, parse_user, raise_all
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def command(argv: list[str]) -> int:
    parser = Parser("cancel", "Cancel jobs.")
    parser.add_argument("jobids", nargs="*", type=parse_id, metavar="JOBID")
    parser.add_argument("--all", action="store_true", help="all jobs of this user")
    add_selection(parser, states=None)
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say how many jobs that would be")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when no job matches")
    parser.add_argument("-m", "--message", metavar="NOTE", help="why, for the job's eventlog")
    args = parser.parse_intermixed_args(argv)
    by_selection = args.all or args.user is not None or args.states is not None
    if by_selection and args.jobids:
        die("Do not specify a list of jobids with --all, --user or --states")
    if not by_selection and not args.jobids:
        die("No target jobs were provided: give job ids, or --all")
    return _cancel_all(args) if by_selection else _cancel_each(args)


def _cancel_each(args: Any) -> int:
    if args.dry_run:
        warn("cancel", f"Would cancel {_jobs(len(args.jobids))}")
        return 0
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
    states, user = parse_states(args.states or "active"), parse_user(args.user)
    with open_flux() as handle:
        count, errors = raise_all(handle, "cancel", 0, args.message, states, user, args.dry_run)
    if not count:
        if not args.quiet:
            warn("cancel", "Matched 0 jobs")
    elif args.dry_run:
        warn("cancel", f"Would cancel {_jobs(count)}")
    else:
        warn("cancel", f"Canceled {_jobs(count)} ({errors} errors)")
    return 1 if errors else 0


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"
