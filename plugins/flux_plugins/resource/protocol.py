"""Requests of the resource service as types."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from flux.idset import IDset

__all__ = [
    "DrainRequest",
    "ExpirationRequest",
    "RanksRequest",
    "ReduceRequest",
    "ReloadRequest",
    "UndrainRequest",
    "WaitUpRequest",
]


class ReduceRequest(msgspec.Struct):
    """count: ranks in resource, an R of what they have."""

    count: int
    resource: dict[str, Any]


class DrainRequest(msgspec.Struct):
    """targets: idset or hostlist. mode: what to do with ranks that are drained already; None refuses them."""

    targets: str
    reason: str | None = None
    mode: str | None = None


class UndrainRequest(msgspec.Struct):
    targets: str
    reason: str | None = None
    mode: str | None = None


class WaitUpRequest(msgspec.Struct):
    up: int


class RanksRequest(msgspec.Struct):
    """ranks: an idset."""

    ranks: str

    def __post_init__(self) -> None:
        IDset(self.ranks)


class ExpirationRequest(msgspec.Struct):
    """expiration: seconds since the epoch."""

    expiration: Annotated[float, msgspec.Meta(ge=0)]


class ReloadRequest(msgspec.Struct):
    path: str
    xml: bool = False
    force: bool = False
