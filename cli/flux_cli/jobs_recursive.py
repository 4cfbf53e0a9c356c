"""`flux jobs --recursive`: the jobs of jobs that are instances of Flux, and of theirs (flux-jobs(1))."""

from __future__ import annotations

import os

from flux_cli.common import open_flux
from flux_cli.job_query import fetch, words
from flux_cli.job_table import print_stats, print_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from typing import Any

    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

__all__ = ["add_children", "print_children"]


def _instances(jobs: list[JobInfo], args: Namespace) -> list[JobInfo]:
    """The jobs that are instances, run, and let this user in."""
    mine = os.getuid()
    return [job for job in jobs if job.uri and job.state == "RUN" and (args.recurse_all or job.userid == mine)]


def _fetch(job: JobInfo, args: Namespace, query: dict[str, Any]) -> list[JobInfo] | None:
    """The jobs of an instance; None when it cannot be reached, as when its services are not there yet."""
    try:
        with open_flux(job.uri.nearest) as handle:
            return fetch("jobs", handle, args.count, **query)[0]
    except OSError:
        return None


def _fetch_all(jobs: list[JobInfo], args: Namespace, query: dict[str, Any]) -> Iterator[tuple[JobInfo, Any]]:
    from concurrent.futures import ThreadPoolExecutor

    instances = _instances(jobs, args)
    with ThreadPoolExecutor(args.threads) as pool:
        yield from zip(instances, pool.map(lambda job: _fetch(job, args, query), instances), strict=True)


def print_children(
    jobs: list[JobInfo],
    args: Namespace,
    query: dict[str, Any],
    prepare: Callable[[list[JobInfo]], None],
    formatter: JobInfoFormat,
    coloured: bool,
    path: str = "",
    level: int = 0,
) -> None:
    """Print the path of each instance among the jobs, and its jobs, down to --level.

    Args:
        prepare: called with jobs before they are printed. path, level: of the instance whose jobs these are.
    """
    if level >= args.level:
        return
    for job, children in _fetch_all(jobs, args, query):
        here = f"{path}/{job.id.f58}" if path else job.id.f58
        print(f"\n{here}:")
        if children is None:
            continue
        if args.stats:
            with open_flux(job.uri.nearest) as handle:
                print_stats(handle, words(args.queue))
        prepare(children)
        print_table(children, formatter, args.width, coloured)
        print_children(children, args, query, prepare, formatter, coloured, here, level + 1)


def add_children(
    jobs: list[JobInfo], records: list[dict[str, Any]], args: Namespace, query: dict[str, Any], level: int = 0
) -> None:
    """Give the record of each instance among the jobs the records of its jobs, as `jobs`, down to --level."""
    if level >= args.level:
        return
    found = {job.id: record for job, record in zip(jobs, records, strict=True)}
    for job, children in _fetch_all(jobs, args, query):
        inner = [child.to_dict() for child in children or ()]
        found[job.id]["jobs"] = inner
        add_children(children or [], inner, args, query, level + 1)
