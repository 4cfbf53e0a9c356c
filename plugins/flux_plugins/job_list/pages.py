"""Lists that clients fetch page by page, so that neither side holds all of a long one. No I/O, no clock."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import islice
from typing import Any

from flux.errors import FluxError
from flux_plugins.job_list.job import ListedJob

__all__ = ["LISTS_PER_CLIENT", "Pages"]

LISTS_PER_CLIENT = 16
"""Lists that one client may have open; a further one ends the oldest."""


class _List:
    def __init__(self, jobs: Iterator[ListedJob], attrs: list[str], size: int) -> None:
        self.jobs = jobs
        self.attrs = attrs
        self.size = size

    def page(self) -> list[dict[str, Any]]:
        return [job.encode(self.attrs) for job in islice(self.jobs, self.size)]


class Pages:
    """The lists of which there may be more, by client and cursor."""

    def __init__(self) -> None:
        self._clients: dict[str, dict[int, _List]] = {}
        self._cursor = 0

    def begin(self, client: str, jobs: Iterator[ListedJob], attrs: list[str], size: int) -> dict[str, Any]:
        """The response with the first page: `jobs`, and `cursor` when there may be more."""
        self._cursor += 1
        return self._page(client, self._cursor, _List(jobs, attrs, size))

    def resume(self, client: str, cursor: int) -> dict[str, Any]:
        """The response with the next page. FluxError EINVAL when the client has no such list."""
        try:
            following = self._clients[client].pop(cursor)
        except KeyError:
            raise FluxError(
                errno.EINVAL, f"there is no list with the cursor {cursor}: it has ended, or newer ones took its place"
            ) from None
        return self._page(client, cursor, following)

    def _page(self, client: str, cursor: int, following: _List) -> dict[str, Any]:
        page = following.page()
        if len(page) < following.size:
            return {"jobs": page}
        lists = self._clients.setdefault(client, {})
        lists[cursor] = following
        if len(lists) > LISTS_PER_CLIENT:
            del lists[next(iter(lists))]
        return {"jobs": page, "cursor": cursor}

    def forget(self, client: str) -> None:
        """The client is gone."""
        self._clients.pop(client, None)

    def __len__(self) -> int:
        """How many lists are open."""
        return sum(map(len, self._clients.values()))
