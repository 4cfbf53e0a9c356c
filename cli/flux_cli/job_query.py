"""Which jobs a command is about: the options that flux-jobs(1), flux-pgrep(1) and flux-watch(1) share."""

from __future__ import annotations

import os
import time

from flux_cli.common import die, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.info import JobInfo

__all__ = ["add_filter_options", "fetch", "filters", "since", "user", "words"]

PENDING_AND_RUNNING = ["pending", "running"]
ALL_STATES = ["pending", "running", "inactive"]


def add_filter_options(parser: ArgumentParser) -> None:
    """The options -u, -f and -q."""
    parser.add_argument("-u", "--user", metavar="USER", help="jobs of this user, by name or number; all for every user")
    parser.add_argument(
        "-f", "--filter", action="append", metavar="STATE|RESULT", help="states and results, separated by commas"
    )
    parser.add_argument("-q", "--queue", action="append", metavar="QUEUE", help="queues, separated by commas")


def words(option: list[str] | None) -> list[str]:
    """What an option that may be repeated lists, separated by commas."""
    return [word for text in option or () for word in text.split(",") if word]


def filters(args: Namespace, default: list[str] = PENDING_AND_RUNNING) -> list[str]:
    """States and results of -f and -a."""
    return words(args.filter) or (ALL_STATES if args.all else default)


def user(args: Namespace) -> str | int:
    """User of -u and -A, by default this one."""
    if args.all_users:
        return "all"
    return args.user if args.user is not None else os.getuid()


def since(text: str | None, code: int = 1) -> float:
    """The time that --since means, in seconds since the epoch. CommandError when it is none, or in the future.

    Args:
        code: exit code of that error.
    """
    if not text:
        return 0.0
    found = _seconds(text, code)
    if found > time.time():
        die(f"--since={text} appears to be in the future", code)
    return found


def _seconds(text: str, code: int) -> float:
    from flux.util import parse_fsd
    from flux_cli.dates import parse_date
    from flux_cli.errors import CommandError

    try:
        if text.startswith("-"):
            return time.time() - parse_fsd(text[1:])
        return float(text)
    except ValueError:
        if text.startswith("-"):
            die(f"--since: '{text}': expected a duration such as -30m or -1.5h", code)
    try:
        return parse_date("--since", text).timestamp()
    except CommandError as exc:
        die(str(exc), code)


def fetch(tool: str, handle: Flux, count: int, attrs: Iterable[str], **query: Any) -> tuple[list[JobInfo], bool]:
    """Jobs, and whether there are more than count; what is wrong with a job id is said on stderr.

    Args:
        tool: name of the command. count: at most so many, 0 for all. query: as for `JobList`.
    """
    from flux.job.list import JobList

    try:
        jobs_rpc = JobList(handle, attrs=attrs, max_entries=count + 1 if count > 0 else 0, **query)
        jobs = jobs_rpc.jobs()
    except ValueError as exc:
        die(str(exc))
    for error in jobs_rpc.errors:
        warn(tool, error)
    if count > 0 and len(jobs) > count and not query.get("ids"):
        return jobs[:count], True
    return jobs, False
