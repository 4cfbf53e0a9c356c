"""`flux jobs`: list jobs (flux-jobs(1))."""

from __future__ import annotations

import argparse
import os
import sys

from flux_cli.common import Parser, die, open_flux, print_json, warn
from flux_cli.formats import format_text
from flux_cli.job_ids import parse_id
from flux_cli.job_query import add_filter_options, fetch, filters, since, user, words
from flux_cli.job_table import print_stats, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

_START = "{id.f58:>12} ?:{queue:<8.8} +:{username:<8} {name:<10.10+} "
_END = "{ntasks:>6} {nnodes:>6h} {contextual_time!F:>8h} {contextual_info}"
FORMATS = {
    "default": ("Default flux-jobs format string", _START + "{status_abbrev:>2.2} " + _END),
    "cute": ("Default flux-jobs format string, with emojis", _START + "{status_emoji:>5.5} " + _END),
    "long": (
        "Extended flux-jobs format string",
        _START + "{status:>9.9} {ntasks:>6} {nnodes:>6h} {t_submit!d:%b%d %R::>12} {t_remaining!F:>12h} "
        "{contextual_time!F:>8h} {contextual_info}",
    ),
    "deps": (
        "Show job urgency, priority, and dependencies",
        "{id.f58:>12} ?:{queue:<8.8} {name:<10.10+} {urgency:<3} {priority:<12} {state:<8.8} {dependencies}",
    ),
    "endreason": (
        "Show why each job ended",
        _START + "{status_abbrev:>2.2} {t_inactive!d:%b%d %R::>12h} {inactive_reason}",
    ),
}
_ALL_LEVELS = 9999
_PAGE = 1000
"""Jobs that are fetched at a time where that is possible, and shown unless --count says otherwise."""


def command(argv: list[str]) -> int:
    args = _parser().parse_intermixed_args(argv)
    args.recursive = args.recursive or args.recurse_all
    if args.json and (args.stats or args.stats_only):
        die("--json incompatible with --stats or --stats-only")
    if args.count < 0:
        die(f"-c/--count: {args.count} is less than 0, which is for no limit")
    text = format_text(args.format, FORMATS, "flux-jobs")
    if text is None:
        return 0
    formatter = _formatter(text, args.sort)
    if args.jobids and not args.recursive and _is_filtered(args):
        warn("jobs", "WARNING: Filtering options ignored with jobid list")
    if args.all and args.filter:
        warn("jobs", "WARNING: Both -a and --filter specified, ignoring -a")
    with open_flux() as handle:
        if args.stats or args.stats_only:
            active = print_stats(handle, words(args.queue))
            if args.stats_only:
                return 0 if active else 1
        return _list(handle, args, formatter)


def _parser() -> Parser:
    parser = Parser("jobs", "List jobs, by default those of this user that are pending or running.")
    parser.add_argument("jobids", nargs="*", type=parse_id, metavar="JOBID", help="only these jobs")
    parser.add_argument("-a", dest="all", action="store_true", help="also inactive jobs")
    parser.add_argument("-A", dest="all_users", action="store_true", help="jobs of all users")
    add_filter_options(parser)
    parser.add_argument("-c", "--count", type=int, default=_PAGE, metavar="N", help="at most N jobs (0: no limit)")
    parser.add_argument("--name", metavar="NAME", help="jobs of this name")
    parser.add_argument("--since", metavar="WHEN", help="only jobs that were active since then")
    parser.add_argument("-i", "--include", metavar="HOSTS|RANKS", help="jobs that have or had any of these nodes")
    _output_options(parser)
    parser.add_argument("--stats", action="store_true", help="print how many jobs there are, first")
    parser.add_argument("--stats-only", action="store_true", help="print only that; fail when no job is active")
    parser.add_argument("-R", "--recursive", action="store_true", help="also jobs of jobs that are instances of Flux")
    parser.add_argument("--recurse-all", action="store_true", help="the same, and of other users' instances")
    parser.add_argument("-L", "--level", type=int, default=_ALL_LEVELS, metavar="N", help="go down at most N levels")
    parser.add_argument("--threads", type=int, metavar="N", help="ask so many instances at a time")
    return parser


def _output_options(parser: Parser) -> None:
    parser.add_argument("-o", "--format", default="default", metavar="FORMAT", help="format, or its name; help lists")
    parser.add_argument("--sort", metavar="KEY,...", help="sort by these fields, - before one for the reverse")
    parser.add_argument("-n", "--no-header", "--suppress-header", action="store_true", help="no line of headings")
    parser.add_argument(
        "-w", "--width", nargs="?", const=0, type=int, default=-1, metavar="N", help="cut lines (0: terminal's width)"
    )
    parser.add_optional_value("--color", const="always", default="", choices=("never", "always", "auto"), help="when")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _formatter(text: str, sort: str | None) -> JobInfoFormat:
    from flux.job.info_format import JobInfoFormat

    try:
        formatter = JobInfoFormat(text)
    except ValueError as exc:
        die(f"Error in user format: {exc}")
    if sort:
        try:
            formatter.set_sort_keys(sort)
        except ValueError as exc:
            die(str(exc))
    return formatter


def _is_filtered(args: argparse.Namespace) -> bool:
    options = (args.all, args.all_users, args.user, args.filter, args.queue, args.name, args.since, args.count != _PAGE)
    return any(options)


# -- the list


def _list(handle: Flux, args: argparse.Namespace, formatter: JobInfoFormat) -> int:
    query = _query(args, formatter)
    if _comes_in_pages(args, formatter):
        return _list_pages(handle, args, formatter, query)
    jobs, cut = fetch("jobs", handle, args.count, **query, ids=args.jobids)
    if args.jobids and not jobs:
        return 1
    _ask_instances(jobs, args, formatter)
    if args.json:
        _print_json(formatter.sort_items(jobs), args, query)
    else:
        _print_lines(jobs, args, formatter, query)
    if cut:
        _warn_of_cut(args)
    return 0


def _comes_in_pages(args: argparse.Namespace, formatter: JobInfoFormat) -> bool:
    """Whether the list may be long, and nothing needs all of it at a time."""
    at_a_time = args.jobids or args.recursive or formatter.sort_keys or formatter.needs_instances()
    return not at_a_time and not 0 < args.count <= _PAGE


def _list_pages(handle: Flux, args: argparse.Namespace, formatter: JobInfoFormat, query: dict[str, Any]) -> int:
    from flux_cli.job_pages import PagedJobs, fitted, print_json_pages

    jobs = PagedJobs(handle, args.count, query.pop("attrs"), query)
    if args.json:
        print_json_pages(jobs, lambda job: job.to_dict())
        return 0
    fit = fitted(formatter, jobs, args.no_header)
    if not args.no_header:
        print(fit.header(args.width))
    coloured = _is_coloured(args)
    for page in jobs:
        print_table(page, fit, args.width, coloured)
    if jobs.cut:
        _warn_of_cut(args)
    return 0


def _warn_of_cut(args: argparse.Namespace) -> None:
    if not args.no_header and not args.json:
        print(f"warning: output truncated at {args.count} jobs.", file=sys.stderr)
        print("Use --count to increase returned results or use filters to alter results.", file=sys.stderr)


def _query(args: argparse.Namespace, formatter: JobInfoFormat) -> dict[str, Any]:
    attrs = {"all"} if args.json else {*formatter.attributes(), "state", "result"}
    if args.recursive or _is_coloured(args):
        attrs |= {"annotations", "userid"}
    args.all = args.all or bool(args.since)
    return {
        "attrs": sorted(attrs),
        "filters": filters(args),
        "user": "all" if args.include and args.user is None else user(args),
        "since": since(args.since),
        "name": args.name,
        "queue": words(args.queue) or None,
        "constraint": _nodes(args.include),
    }


def _nodes(include: str | None) -> dict[str, Any] | None:
    """The RFC 43 constraint of -i."""
    if include is None:
        return None
    from flux.hostlist import Hostlist
    from flux.idset import IDset

    try:
        return {"ranks": [str(IDset(include))]}
    except ValueError:
        pass  # then they are hosts
    try:
        return {"hostlist": [str(Hostlist(include))]}
    except ValueError as exc:
        die(f"-i/--include: invalid targets: {include}: {exc}")


def _ask_instances(jobs: list[JobInfo], args: argparse.Namespace, formatter: JobInfoFormat) -> None:
    if formatter.needs_instances() and not args.json:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(args.threads) as pool:
            list(pool.map(lambda job: job.get_instance_info(), jobs))


def _is_coloured(args: argparse.Namespace) -> bool:
    when = args.color or ("never" if os.environ.get("NO_COLOR") else "auto")
    return when == "always" or (when == "auto" and sys.stdout.isatty())


def _print_json(jobs: list[JobInfo], args: argparse.Namespace, query: dict[str, Any]) -> None:
    records = [job.to_dict() for job in jobs]
    if args.recursive:
        from flux_cli.jobs_recursive import add_children

        add_children(jobs, records, args, query)
    if len(args.jobids) == 1:
        print_json(records[0], indent=None)
    else:
        print_json({"jobs": records}, indent=None)


def _print_lines(
    jobs: list[JobInfo], args: argparse.Namespace, formatter: JobInfoFormat, query: dict[str, Any]
) -> None:
    coloured = _is_coloured(args)
    fitted = type(formatter)(formatter.filter(jobs, args.no_header))
    if not args.no_header:
        print(fitted.header(args.width))
    print_table(jobs, fitted, args.width, coloured)
    if args.recursive:
        from flux_cli.jobs_recursive import print_children

        print_children(jobs, args, query, lambda found: _ask_instances(found, args, fitted), fitted, coloured)
