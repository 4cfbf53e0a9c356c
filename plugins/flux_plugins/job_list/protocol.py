"""Requests of the job list as types (RFC 43)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

__all__ = ["ListIdRequest", "ListRequest"]

Count = Annotated[int, msgspec.Meta(ge=0)]


class ListRequest(msgspec.Struct):
    """max_entries: 0 for no limit. since: seconds since the epoch.

    page: answer with so many jobs at most, and with a `cursor` while there may be more; 0 for all at once.
    cursor: answer with the next page of this list; nothing else of the request counts.

    userid, states, results, name and queue are the form that clients used before there were constraints.
    """

    max_entries: Count
    attrs: list[str]
    since: float = 0.0
    constraint: dict[str, Any] | None = None
    page: Count = 0
    cursor: Count | None = None
    userid: int | None = None
    states: int = 0
    results: int = 0
    name: str | None = None
    queue: str | None = None


class ListIdRequest(msgspec.Struct):
    """state: FLUX_JOB_STATE_*; the answer waits until the job has reached it."""

    id: int
    attrs: list[str]
    state: int = 0
