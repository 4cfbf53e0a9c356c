"""Payloads of the job-info service (RFC 41)."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["LookupRequest", "UpdateLookupRequest", "UpdateWatchRequest", "WatchRequest"]


class _JobRequest(msgspec.Struct):
    """id: of the job."""

    id: int

    def __post_init__(self) -> None:
        if not 0 <= self.id < 1 << 64:
            raise ValueError(f"job id {self.id} is not an unsigned 64 bit integer")


class LookupRequest(_JobRequest):
    """flags: FLUX_JOB_LOOKUP_JSON_DECODE, FLUX_JOB_LOOKUP_CURRENT."""

    keys: list[str]
    flags: int


class WatchRequest(_JobRequest):
    """flags: FLUX_JOB_EVENT_WATCH_WAITCREATE, FLUX_JOB_EVENT_WATCH_INITIAL_SENTINEL."""

    path: str
    flags: int


class UpdateWatchRequest(_JobRequest):
    key: Literal["R", "jobspec"]
    flags: int = 0


class UpdateLookupRequest(_JobRequest):
    key: str
    flags: int = 0
