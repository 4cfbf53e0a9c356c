"""`flux job-exec-override`: start and finish test jobs by hand (flux-job-exec-override(1))."""

from __future__ import annotations

from flux_cli.common import Action, Parser, die, dispatch, open_flux
from flux_cli.job_ids import parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def command(argv: list[str]) -> int:
    return dispatch("job-exec-override", "Tell test jobs what to do.", ACTIONS, argv)


def _start_arguments(parser: Parser) -> None:
    parser.add_argument("jobid", type=parse_id, metavar="JOBID")


def _finish_arguments(parser: Parser) -> None:
    _start_arguments(parser)
    parser.add_argument("status", type=int, metavar="STATUS", help="wait status, such as 256 for exit code 1")


def _start(args: argparse.Namespace) -> int:
    return _override(args, {"event": "start"})


def _finish(args: argparse.Namespace) -> int:
    return _override(args, {"event": "finish", "status": args.status})


def _override(args: argparse.Namespace, request: dict[str, object]) -> int:
    with open_flux() as handle:
        try:
            handle.rpc("job-exec.override", {"jobid": args.jobid, **request}).get()
        except OSError as exc:
            die(f"{args.jobid.orig}: {exc}")
    return 0


ACTIONS = {
    "start": Action(_start, "let a job start", _start_arguments),
    "finish": Action(_finish, "let a job that runs end", _finish_arguments),
}
