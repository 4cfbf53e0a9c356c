"""`flux job list|list-inactive|list-ids|stats|last`: lists of jobs for scripts (flux-job(1))."""

from __future__ import annotations

import argparse

from flux_cli.common import Parser, die, open_flux, print_json
from flux_cli.job_bulk import parse_states, parse_user
from flux_cli.job_ids import no_such_job, parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_ANY_STATE = 127


def list__arguments(parser: Parser) -> None:
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="at most so many jobs")
    parser.add_argument("-s", "--states", metavar="STATES", help="states they are in (pending,running)")
    parser.add_argument("-u", "--user", metavar="USER", help="user whose jobs are meant; all for every user")
    parser.add_argument("-a", "--all-user", action="store_true", help="all jobs of this user")
    parser.add_argument("-A", "--all", action="store_true", help="all jobs of all users")


def list_(args: argparse.Namespace) -> int:
    """One JSON object per job and line, in the order of flux-jobs(1)."""
    states = _ANY_STATE if args.all or args.all_user else parse_states(args.states or "pending,running")
    user = parse_user("all" if args.all else args.user)
    return _print_jobs(args.count, userid=user, states=states)


def list_inactive_arguments(parser: Parser) -> None:
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="at most so many jobs")
    parser.add_argument("-s", "--since", type=float, default=0.0, metavar="T", help="inactive since (epoch seconds)")


def list_inactive(args: argparse.Namespace) -> int:
    """The inactive jobs of all users, those that ended last first."""
    return _print_jobs(args.count, userid=parse_user("all"), states=parse_states("inactive"), since=args.since)


def _print_jobs(count: int, **wanted: Any) -> int:
    from flux.job.list import job_list

    if count < 0:
        die(f"--count: expected 0 (all) or more, got {count}")
    with open_flux() as handle:
        _print_each(job_list(handle, count, attrs=["all"], **wanted).get_jobs())
    return 0


def _print_each(jobs: Iterable[dict[str, Any]]) -> None:
    for job in jobs:
        print_json(job, indent=None)


def list_ids_arguments(parser: Parser) -> None:
    parser.add_argument("ids", nargs="+", type=parse_id, metavar="JOBID")
    parser.add_argument("-W", "--wait-state", metavar="STATE", help="wait until the jobs have got to this state")


def list_ids(args: argparse.Namespace) -> int:
    from flux.job.list import JobList, job_list_id

    state = 0
    if args.wait_state:
        state = JobList.STATES.get(args.wait_state.lower(), 0) or die(f"there is no job state '{args.wait_state}'")
        state &= -state  # the first of several, such as those of "running"
    with open_flux() as handle:
        for future in [job_list_id(handle, jobid, state=state) for jobid in args.ids]:
            try:
                _print_each([future.get_job()])
            except OSError as exc:
                raise no_such_job(exc, future.jobid) from None
    return 0


def stats_arguments(parser: Parser) -> None:
    """It has no options."""


def stats(_args: argparse.Namespace) -> int:
    with open_flux() as handle:
        print_json(handle.rpc("job-list.job-stats", {}).get(), indent=None)
    return 0


def last_arguments(parser: Parser) -> None:
    parser.add_argument("slice", nargs="?", default="[:1]", metavar="N|SLICE", help="the last N, or as in Python, [:3]")


def last(args: argparse.Namespace) -> int:
    from flux.job.JobID import JobID

    wanted: str = args.slice
    if not wanted.startswith("["):
        if not wanted.isdecimal():
            die(f"expected a number of jobs or a slice such as [:3], got '{wanted}'")
        wanted = f"[:{wanted}]"
    with open_flux() as handle:
        ids = handle.rpc("job-manager.history.get", {"slice": wanted}).get()["jobs"]
    for jobid in ids:
        print(JobID(jobid))
    return 0 if ids else die("job history is empty")
