"""`flux pgrep` and `flux pkill`: find jobs by name or range of ids, and cancel them (flux-pgrep(1))."""

from __future__ import annotations

import re

from flux_cli.cmd.jobs import FORMATS as JOBS_FORMATS
from flux_cli.common import Parser, die, open_flux, warn
from flux_cli.formats import format_text
from flux_cli.job_query import add_filter_options, fetch, filters, user, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat
    from flux.job.JobID import JobID

_NO_MATCH, _SYNTAX = 1, 2
_ONLY_ID = "{id.f58}"
FORMATS = {
    "default": ("Default flux-pgrep format string", _ONLY_ID),
    "full": ("Full flux-pgrep format string", JOBS_FORMATS["default"][1]),
    "long": JOBS_FORMATS["long"],
    "deps": JOBS_FORMATS["deps"],
}
_ATTRS = ["name", "state", "result"]


def command(argv: list[str]) -> int:
    parser = _parser("pgrep", "List jobs whose name matches a pattern, or whose id is in a range.")
    parser.add_argument("-a", dest="all", action="store_true", help="also inactive jobs")
    parser.add_argument("-n", "--no-header", action="store_true", help="no line of headings")
    parser.add_argument("-o", "--format", default="default", metavar="FORMAT", help="format, or its name; help lists")
    if any(word in ("-ohelp", "--format=help") or word.startswith("--format=get-config=") for word in argv):
        argv = [*argv, "."]  # what to look for need not be said then
    args = parser.parse_intermixed_args(argv)
    text = format_text(args.format, FORMATS, "flux-jobs", "flux-pgrep")
    return 0 if text is None else _list(args, text)


def _list(args: Namespace, text: str) -> int:
    from flux.job.info_format import JobInfoFormat

    try:
        formatter = JobInfoFormat(text)
    except ValueError as exc:
        die(f"Error in user format: {exc}")
    wanted = _Expression(args.expression)
    with open_flux() as handle:
        jobs = _find(handle, args, wanted, formatter.attributes())
    if not jobs:
        return _NO_MATCH
    _print(formatter, jobs, args.no_header or text == _ONLY_ID)
    return 0


def _print(formatter: JobInfoFormat, jobs: list[JobInfo], no_header: bool) -> None:
    if formatter.needs_instances():
        for job in jobs:
            job.get_instance_info()
    formatter.print_items(jobs, no_header=no_header)


def pkill(argv: list[str]) -> int:
    parser = _parser("pkill", "Cancel jobs whose name matches a pattern, or whose id is in a range.")
    parser.add_argument("-w", "--wait", action="store_true", help="wait until they are inactive")
    parser.set_defaults(all=False)
    args = parser.parse_intermixed_args(argv)
    wanted = _Expression(args.expression)
    with open_flux() as handle:
        jobs = _find(handle, args, wanted, [])
        return _cancel(handle, jobs, args.wait) if jobs else _NO_MATCH


def _cancel(handle: Flux, jobs: list[JobInfo], wait: bool) -> int:
    from flux.job.kill import cancel_async
    from flux.job.wait import result

    canceled: list[JobInfo] = []
    for job, future in [(job, cancel_async(handle, job.id)) for job in jobs]:
        try:
            future.get()
            canceled.append(job)
        except OSError as exc:
            warn("pkill", f"{job.id}: cancel: {exc}")
    if wait:
        for job in canceled:
            result(handle, job.id)
    warn("pkill", f"Canceled {len(canceled)} job{'' if len(canceled) == 1 else 's'}")
    return 0 if len(canceled) == len(jobs) else 1


# -- what is looked for


def _parser(name: str, description: str) -> Parser:
    parser = Parser(name, description)
    parser.add_argument("-A", dest="all_users", action="store_true", help="jobs of all users")
    add_filter_options(parser)
    parser.add_argument("-c", "--count", type=int, default=0, metavar="N", help="at most the first N matches")
    parser.add_argument("--max-entries", type=int, default=1000, metavar="N", help="look at N jobs at most (1000)")
    parser.add_argument("expression", nargs="+", metavar="EXPRESSION", help="pattern for the name, or JOBID..JOBID")
    return parser


class _Expression:
    """A pattern, a range of ids, or both. CommandError (2) when it is none."""

    def __init__(self, expressions: list[str]) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._range: tuple[JobID, JobID] | None = None
        for text in expressions:
            found = _id_range(text)
            if found is not None:
                self._range = found
            elif self._pattern is not None:
                die("expression error: Only one pattern can be provided", _SYNTAX)
            else:
                self._pattern = _compile(text.removeprefix("name:"))

    def matches(self, job: JobInfo) -> bool:
        if self._range is not None and not self._range[0] <= job.id <= self._range[1]:
            return False
        return self._pattern is None or self._pattern.search(job.name) is not None


def _id_range(text: str) -> tuple[JobID, JobID] | None:
    first, dots, last = text.partition("..")
    if not dots or ":" in text:
        return None
    from flux.job.JobID import JobID

    try:
        return JobID(first), JobID(last)
    except ValueError:
        return None  # then it is a pattern


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as exc:
        die(f"expression error: '{pattern}': {exc}", _SYNTAX)


def _find(handle: Flux, args: Namespace, wanted: _Expression, attrs: list[str]) -> list[JobInfo]:
    query = {"filters": filters(args), "user": user(args), "queue": words(args.queue) or None}
    jobs, _ = fetch("pgrep", handle, args.max_entries, sorted({*_ATTRS, *attrs}), **query)
    found = [job for job in jobs if wanted.matches(job)]
    return found[: args.count] if args.count > 0 else found
