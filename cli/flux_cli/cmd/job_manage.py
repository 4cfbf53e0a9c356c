"""`flux job memo|namespace|purge|submit|timeleft` (flux-job(1))."""

from __future__ import annotations

import argparse
import sys

from flux_cli.common import Parser, die, open_flux, parse_duration
from flux_cli.job_ids import no_such_job, parse_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.JobID import JobID

_FLAGS = ("waitable", "debug", "novalidate")
_NO_LIMIT = 0xFFFFFFFF
"""Seconds that stand for a job without a time limit."""


# -- submit


def submit_arguments(parser: Parser) -> None:
    parser.add_argument("jobspec", nargs="?", default="-", metavar="JOBSPEC", help="JSON or YAML file; - for stdin")
    parser.add_argument("-u", "--urgency", default="default", metavar="N", help="0 to 31, hold, default or expedite")
    parser.add_argument("-f", "--flags", default="", metavar="FLAGS", help=f"any of {', '.join(_FLAGS)}, by commas")


def submit(args: argparse.Namespace) -> int:
    from flux.job.submit import submit_async
    from flux_cli.submit_options import parse_urgency

    flags = set(args.flags.split(",")) - {""}
    for unknown in sorted(flags - set(_FLAGS)):
        die(f"unknown flag: {unknown}; there are {', '.join(_FLAGS)}")
    urgency = parse_urgency(args.urgency.lower())
    jobspec = _jobspec(_read(args.jobspec))
    with open_flux() as handle:
        print(submit_async(handle, jobspec, urgency, **dict.fromkeys(flags, True)).get_id())
    return 0


def _read(path: str) -> str:
    if path == "-":
        text = sys.stdin.read()
    else:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    return text if text.strip() else die("required jobspec is empty")


def _jobspec(text: str) -> dict[str, Any]:
    """A jobspec from JSON; from YAML (RFC 14) when it does not look like JSON."""
    from json import loads

    try:
        spec = loads(text) if text.lstrip().startswith(("{", "[")) else _load_yaml(text)
    except ValueError as exc:
        die(f"jobspec: invalid JSON: {exc}")
    return spec if isinstance(spec, dict) else die("jobspec: expected an object with resources, tasks, attributes")


def _load_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        die(f"jobspec: neither JSON nor YAML: {exc}")


# -- memo


def memo_arguments(parser: Parser) -> None:
    parser.add_argument("id", type=parse_id, metavar="JOBID")
    parser.add_argument("memo", nargs="+", metavar="KEY=VALUE", help="VALUE is JSON, or a string; null removes the key")
    parser.add_argument("--volatile", action="store_true", help="leave it out of the eventlog: lost at a restart")


def memo(args: argparse.Namespace) -> int:
    values: dict[str, Any] = {}
    for word in args.memo:
        key, equals, text = word.partition("=")
        if not equals or not key:
            die(f"memo: expected KEY=VALUE, got '{word}'")
        values[key] = _json_or_text(text)
    request = {"id": args.id, "volatile": args.volatile, "memo": values}
    with open_flux() as handle:
        try:
            handle.rpc("job-manager.memo", request).get()
        except OSError as exc:
            die(f"memo: {exc}")
    return 0


def _json_or_text(text: str) -> Any:
    from json import loads

    try:
        return loads(text)
    except ValueError:
        return text


# -- purge


def purge_arguments(parser: Parser) -> None:
    parser.add_argument(
        "ids", nargs="*", type=parse_id, metavar="JOBID", help="these; the oldest by the limits if none"
    )
    parser.add_argument("--age-limit", type=parse_duration, default=-1.0, metavar="FSD", help="inactive for longer")
    parser.add_argument("--num-limit", type=int, metavar="COUNT", help="all but the newest so many")
    parser.add_argument("-f", "--force", action="store_true", help="do it; without, only the number is told")
    parser.add_argument("--batch", type=int, default=50, metavar="COUNT", help="at most so many per request (50)")


def purge(args: argparse.Namespace) -> int:
    if args.num_limit is not None and args.num_limit < 0:
        die(f"purge: --num-limit: expected 0 or more, got {args.num_limit}")
    if args.batch < 1:
        die(f"purge: --batch: expected 1 or more, got {args.batch}")
    with open_flux() as handle:
        inactive = handle.rpc("job-manager.stats-get", nodeid=0).get()["inactive_jobs"]
        try:
            count = _purge_ids(handle, args) if args.ids else _purge_oldest(handle, args)
        except OSError as exc:
            die(f"purge: {exc}")
    if args.force:
        print(f"purged {count} inactive jobs, {max(0, inactive - count)} remaining")
    else:
        print(f"use --force to purge {count} of {inactive} inactive jobs")
    return 0


def _purge_ids(handle: Flux, args: argparse.Namespace) -> int:
    requests = [handle.rpc("job-manager.purge-id", {"id": id, "force": int(args.force)}, nodeid=0) for id in args.ids]
    return sum(request.get()["count"] for request in requests)


def _purge_oldest(handle: Flux, args: argparse.Namespace) -> int:
    age = min(args.age_limit, sys.float_info.max)  # JSON has no "inf"
    limits = {"age_limit": age, "num_limit": -1 if args.num_limit is None else args.num_limit}
    request = {**limits, "batch": args.batch, "force": args.force}
    total = 0
    while count := handle.rpc("job-manager.purge", request, nodeid=0).get()["count"]:
        total += count
        if not args.force or count < args.batch:
            break
    return total


# -- timeleft


def timeleft_arguments(parser: Parser) -> None:
    parser.add_argument("id", nargs="?", type=parse_id, metavar="JOBID", help="default: the job that this runs in")
    parser.add_argument("-H", "--human", action="store_true", help="as a duration such as 1.5h, not in seconds")


def timeleft(args: argparse.Namespace) -> int:
    from flux.util import fsd

    seconds = _seconds_left(_own_job() if args.id is None else args.id)
    if args.human:
        print("infinity" if seconds is None else fsd(seconds))
    else:
        print(_NO_LIMIT if seconds is None else int(seconds))
    return 0


def _own_job() -> JobID | None:
    import os

    return parse_id(os.environ["FLUX_JOB_ID"]) if os.environ.get("FLUX_JOB_ID") else None


def _seconds_left(jobid: JobID | None) -> float | None:
    """Seconds until a job, or else the instance, has to end; None for no limit. CommandError when it is not running."""
    from time import time

    with open_flux() as handle:
        if jobid is None:
            R = handle.rpc("resource.status", nodeid=0).get()["R"]
            expiration = R["execution"].get("expiration", 0.0)
        else:
            job = _job(handle, jobid)
            if job is None:
                return 0.0
            expiration = job.get("expiration", 0.0)
    return max(0.0, expiration - time()) if expiration else None


def _job(handle: Flux, jobid: JobID) -> dict[str, Any] | None:
    """A job that runs; None when it has ended."""
    from flux.constants import FLUX_JOB_STATE_PENDING, FLUX_JOB_STATE_RUN

    try:
        job: dict[str, Any] = handle.rpc("job-list.list-id", {"id": jobid, "attrs": ["state", "expiration"]}).get()[
            "job"
        ]
    except OSError as exc:
        raise no_such_job(exc, jobid) from None
    if job["state"] & (FLUX_JOB_STATE_PENDING | 1):
        die(f"job {jobid.orig} has not started")
    return job if job["state"] == FLUX_JOB_STATE_RUN else None


# -- namespace


def namespace_arguments(parser: Parser) -> None:
    parser.add_argument("ids", nargs="*", metavar="JOBID", help="default: words of standard input")


def namespace(args: argparse.Namespace) -> int:
    for word in args.ids or sys.stdin.read().split():
        try:
            print(f"job-{int(parse_id(word))}")
        except argparse.ArgumentTypeError as exc:
            die(str(exc))
    return 0
