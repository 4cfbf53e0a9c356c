"""Payloads of the job-info service (RFC 41)."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["LookupRequest", "UpdateLookupRequest", "UpdateWatchRequest", "WatchRequest"]


class LookupRequest(msgspec.Struct):
    """flags: FLUX_JOB_LOOKUP_JSON_DECODE, FLUX_JOB_LOOKUP_CURRENT."""

    id: int
    keys: list[str]
    flags: int


class WatchRequest(msgspec.Struct):
    """flags: FLUX_JOB_EVENT_WATCH_WAITCREATE, FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL."""

    id: int
    path: str
    flags: int


class UpdateWatchRequest(msgspec.Struct):
    id: int
    key: Literal["R", "jobspec"]
    flags: int = 0


class UpdateLookupRequest(msgspec.Struct):
    id: int
    key: str
    flags: int = 0
