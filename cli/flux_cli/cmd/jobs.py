"""`flux jobs`: list jobs (flux-jobs(1))."""

from __future__ import annotations

import argparse
import os
import sys

from flux_cli.common import Parser, die, open_flux, print_json, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

FORMATS = {
    "default": "{id.f58:>12} {username:<8.8} {name:<10.10+} {status_abbrev:>2.2} {ntasks:>6} {nnodes:>6h} "
    "{contextual_time!F:>8h} {contextual_info}",
    "long": "{id.f58:>12} {username:<8.8} {name:<10.10+} {status:>9.9} {ntasks:>6} {nnodes:>6h} "
    "{t_submit!D:>19} {t_remaining!F:>12h} {contextual_time!F:>8h} {contextual_info}",
    "deps": "{id.f58:>12} {name:<10.10+} {urgency:<3} {priority:<12} {state:<8.8} {dependencies}",
    "endreason": "{id.f58:>12} {name:<10.10+} {status_abbrev:>2.2} {t_inactive!D:>19h} {returncode:>4} "
    "{exception.type:>10.10h} {exception.note}",
}
_COLOURS = {"FAILED": "\033[01;31m", "TIMEOUT": "\033[01;31m", "CANCELED": "\033[37m", "COMPLETED": "\033[01;32m"}
_RESET = "\033[0m"
_STATS = "{running} running, {successful} completed, {failed} failed, {pending} pending"


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    with open_flux() as handle:
        if args.stats_only:
            return 0 if _print_stats(handle) else 1
        if args.stats:
            _print_stats(handle)
        return _list(handle, args)


def _parser() -> Parser:
    parser = Parser("jobs", "List jobs, by default those of this user that are pending or running.")
    parser.add_argument("jobids", nargs="*", metavar="JOBID", help="only these jobs")
    parser.add_argument("-a", dest="all", action="store_true", help="also inactive jobs")
    parser.add_argument("-A", dest="all_users", action="store_true", help="jobs of all users, also inactive ones")
    parser.add_argument("-u", "--user", metavar="USER", help="jobs of this user; all for every user")
    parser.add_argument("-f", "--filter", metavar="STATE|RESULT", help="states and results, separated by commas")
    parser.add_argument("-c", "--count", type=int, default=1000, metavar="N", help="at most N jobs (0: no limit)")
    parser.add_argument("-q", "--queue", metavar="QUEUE", help="jobs of these queues, separated by commas")
    parser.add_argument("--name", metavar="NAME", help="jobs of this name")
    parser.add_argument("--since", metavar="WHEN", help="jobs that have become inactive since then")
    parser.add_argument("-o", "--format", default="default", metavar="FORMAT", help="format, or its name; help lists")
    parser.add_argument("-n", "--suppress-header", "--no-header", action="store_true", help="no line of headings")
    parser.add_argument("--color", nargs="?", const="always", default="auto", choices=("never", "always", "auto"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--stats", action="store_true", help="print how many jobs there are, first")
    parser.add_argument("--stats-only", action="store_true", help="print only that; fail when no job is active")
    return parser


def _print_stats(handle: Flux) -> int:
    from flux.job.stats import JobStats

    stats = JobStats(handle)
    stats.update_sync()
    print(_STATS.format_map(vars(stats)))
    return stats.active


def _list(handle: Flux, args: argparse.Namespace) -> int:
    if args.format == "help":
        for name, text in FORMATS.items():
            print(f"{name:<10} {text}")
        return 0
    formatter = None if args.json else _format(args.format)
    jobs, errors = _fetch(handle, args, None if formatter is None else formatter.attributes())
    for error in errors:
        warn("jobs", error)
    if formatter is None:
        _print_json(jobs, args)
    else:
        _print_lines(jobs, formatter, args)
    return 1 if errors else 0


def _format(text: str) -> JobInfoFormat:
    from flux.job.info_format import JobInfoFormat

    try:
        return JobInfoFormat(FORMATS.get(text, text))
    except ValueError as exc:
        die(f"--format: {exc}")


def _fetch(handle: Flux, args: argparse.Namespace, attrs: list[str] | None) -> tuple[list[JobInfo], list[str]]:
    from flux.job.list import ALL_ATTRS, JobList

    try:
        query = JobList(
            handle,
            attrs=ALL_ATTRS if attrs is None else sorted({*attrs, "state", "result"}),
            filters=_filters(args),
            ids=args.jobids,
            user=_user(args),
            max_entries=args.count + 1 if args.count > 0 else 0,
            since=_since(args.since),
            name=args.name,
            queue=args.queue.split(",") if args.queue else None,
        )
        jobs = query.jobs()
    except ValueError as exc:
        die(str(exc))
    if args.count > 0 and len(jobs) > args.count and not args.jobids:
        warn("jobs", f"there are more than {args.count} jobs; --count=0 shows all")
        jobs = jobs[: args.count]
    return jobs, query.errors


def _filters(args: argparse.Namespace) -> list[str]:
    if args.filter:
        return [word for word in args.filter.split(",") if word]
    if args.since:
        return ["inactive"]
    return ["pending", "running", "inactive"] if args.all or args.all_users else ["pending", "running"]


def _user(args: argparse.Namespace) -> str | int:
    if args.all_users:
        return "all"
    return args.user if args.user is not None else os.getuid()


def _since(text: str | None) -> float:
    if not text:
        return 0.0
    import time

    from flux.util import parse_datetime, parse_fsd

    if text.startswith("-"):
        return time.time() - parse_fsd(text[1:])
    return parse_datetime(text).timestamp()


def _print_json(jobs: list[JobInfo], args: argparse.Namespace) -> None:
    records = [job.to_dict() for job in jobs]
    one = len(args.jobids) == 1 and len(records) == 1
    print_json(records[0] if one else {"jobs": records}, indent=None)


def _print_lines(jobs: list[JobInfo], formatter: JobInfoFormat, args: argparse.Namespace) -> None:
    coloured = args.color == "always" or (args.color == "auto" and sys.stdout.isatty())
    if not args.suppress_header:
        print(formatter.header().rstrip())
    for job in jobs:
        line = formatter.format(job).rstrip()
        colour = _COLOURS.get(job.result) if coloured else None
        print(f"{colour}{line}{_RESET}" if colour else line)
