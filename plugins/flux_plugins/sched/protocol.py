"""Requests of the scheduler (RFC 27) as types."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["AllocType", "Cancel", "Expiration", "Feasibility", "Free", "Prioritize"]


class AllocType:
    """`type` of a response to sched.alloc."""

    SUCCESS, ANNOTATE, DENY, CANCEL = range(4)


class Cancel(msgspec.Struct):
    id: int


class Free(msgspec.Struct):
    id: int
    R: dict[str, Any]
    final: bool = False


class Expiration(msgspec.Struct):
    """expiration: seconds since the epoch."""

    id: int
    expiration: float


class Prioritize(msgspec.Struct):
    jobs: list[tuple[int, int]]


class Feasibility(msgspec.Struct):
    jobspec: dict[str, Any]
