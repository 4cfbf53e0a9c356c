"""Long lists of jobs, printed while they come (flux-jobs(1)): no more of them is held than a page."""

from __future__ import annotations

import sys
from itertools import chain

from flux.job.list import PAGE, JobList
from flux_cli.common import die, json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

__all__ = ["PAGE", "PagedJobs", "fitted", "print_json_pages"]


class PagedJobs:
    """The jobs of a query, in pages.

    Args:
        count: at most so many, 0 for all. attrs, query: as for `JobList`.

    Attributes:
        is_long: there may be more than a page.
        cut: there were more than count; known at the end.
    """

    def __init__(self, handle: Flux, count: int, attrs: list[str], query: dict[str, Any]) -> None:
        self._handle = handle
        self._count = count
        self._query = query
        self.cut = False
        self._pages = self._fetch(attrs)
        self._first = next(self._pages)
        self.is_long = len(self._first) == PAGE

    def _fetch(self, attrs: list[str]) -> Iterator[list[JobInfo]]:
        limit = self._count + 1 if self._count else 0
        try:
            return JobList(self._handle, attrs=attrs, max_entries=limit, **self._query).pages()
        except ValueError as exc:
            die(str(exc))

    def __iter__(self) -> Iterator[list[JobInfo]]:
        """The pages, once."""
        left = self._count or sys.maxsize
        for page in chain([self._first], self._pages):
            self.cut = len(page) > left
            yield page[:left]
            left -= len(page)

    def all(self, attrs: list[str]) -> Iterator[JobInfo]:
        """The first page, or all jobs with these attributes, fetched once more."""
        return chain.from_iterable(self._fetch(attrs) if self.is_long else [self._first])


def fitted(formatter: JobInfoFormat, jobs: PagedJobs, no_header: bool) -> JobInfoFormat:
    """The format with its columns as these jobs need them."""
    from flux.job.info_format import job_fields_to_attrs

    attrs = sorted(job_fields_to_attrs(formatter.fitted_fields))
    items = jobs.all(["state", *attrs]) if attrs else ()
    return type(formatter)(formatter.filter(items, no_header))


def print_json_pages(jobs: PagedJobs, record: Callable[[JobInfo], dict[str, Any]]) -> None:
    """Print one JSON object with all jobs as "jobs"."""
    before = '{"jobs": ['
    for page in jobs:
        for job in page:
            sys.stdout.write(before + json_text(record(job)))
            before = ", "
    print("]}" if before == ", " else before + "]}")
