"""`flux job status` and `flux job wait` (flux-job(1))."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import Parser, open_flux, print_json, warn
from flux_cli.job_ids import no_such_job, parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.job.JobID import JobID
    from flux.job.wait import JobResultFuture

NOTHING_LEFT = 2
"""Exit code of `wait` when there is no waitable job."""


def status_arguments(parser: Parser) -> None:
    parser.add_argument("ids", nargs="+", type=parse_id, metavar="JOBID")
    parser.add_argument(
        "-e", "--exception-exit-code", type=int, metavar="N", help="exit code for jobs that an exception ended"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say on stderr how the jobs ended")
    parser.add_argument("-j", "--json", action="store_true", help="print how each ended, one JSON object per line")


def status(args: argparse.Namespace) -> int:
    from flux.job.wait import result_async

    several = args.verbose and len(args.ids) > 1
    with open_flux() as handle:
        if several:
            warn("job", f"fetching status for {len(args.ids)} jobs")
        futures = [(jobid, result_async(handle, jobid)) for jobid in args.ids]
        results = [_result(jobid, future) for jobid, future in futures]
        if several:
            warn("job", "all done.")
    codes = [_code(job, args.exception_exit_code) for job in results]
    for job, code in zip(results, codes, strict=True):
        if args.json:
            print_json(job.to_dict(), indent=None)
        if args.verbose > (code == 0):
            warn("job", f"{job.id}: {_how(job, code)}")
    return max(codes)


def _result(jobid: JobID, future: JobResultFuture) -> Any:
    try:
        return future.get_info()
    except OSError as exc:
        raise no_such_job(exc, jobid) from None


def _code(job: Any, exception_code: int | None) -> int:
    from flux_cli.attach import exit_code

    fatal = job.exception.occurred and job.exception.severity == 0
    if fatal and exception_code is not None:
        return exception_code
    code = exit_code(None if job.waitstatus == "" else job.waitstatus)
    return code or (1 if fatal else 0)


def _how(job: Any, code: int) -> str:
    if job.exception.occurred and job.exception.severity == 0:
        note = f" note={job.exception.note}" if job.exception.note else ""
        return f"exception type={job.exception.type}{note}"
    return f"exited with exit code {code}"


def wait_arguments(parser: Parser) -> None:
    parser.add_argument("id", nargs="?", type=parse_id, metavar="JOBID", help="default: the next one that ends")
    parser.add_argument("-a", "--all", action="store_true", help="wait for all waitable jobs")
    parser.add_argument("-v", "--verbose", action="store_true", help="say also of successful jobs how they ended")


def wait(args: argparse.Namespace) -> int:
    if args.all:
        return _wait_all(args)
    from flux.constants import FLUX_JOBID_ANY

    with open_flux() as handle:
        found = _wait(handle, FLUX_JOBID_ANY if args.id is None else args.id)
    if isinstance(found, OSError):
        print(f"flux-job: {found}", file=sys.stderr)
        return NOTHING_LEFT
    if args.id is None:
        print(found.jobid)
    if not found.success:
        print(f"flux-job: {found.errstr}", file=sys.stderr)
    return 0 if found.success else 1


def _wait(handle: Any, jobid: int) -> Any:
    from flux.job.wait import wait as wait_for_job

    try:
        return wait_for_job(handle, jobid)
    except ChildProcessError as exc:  # ECHILD
        return exc


def _wait_all(args: argparse.Namespace) -> int:
    from flux.constants import FLUX_JOBID_ANY

    code = 0
    with open_flux() as handle:
        while not isinstance(found := _wait(handle, FLUX_JOBID_ANY), OSError):
            if not found.success:
                print(f"{found.jobid}: {found.errstr}", file=sys.stderr)
                code = 1
            elif args.verbose:
                print(f"{found.jobid}: job completed successfully", file=sys.stderr)
    return code
