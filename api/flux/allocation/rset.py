"""Allocations written as R (RFC 20)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flux.allocation.masks import text_of
from flux.allocation.pool import Allocation, Pool
from flux.hostlist import Hostlist
from flux.idset import IDset

__all__ = ["summary", "to_R"]


def to_R(
    pool: Pool, allocation: Allocation, starttime: float = 0.0, expiration: float = 0.0, nslots: int = 0
) -> dict[str, Any]:
    """An allocation as R, ranks that hold the same in one entry; an empty one has an empty R_lite.

    Args:
        starttime, expiration: seconds since the epoch, 0 for unset. nslots: left out when 0.
    """
    groups = _grouped(allocation)
    execution: dict[str, Any] = {
        "R_lite": [{"rank": _ranks(ranks), "children": _children(*masks)} for masks, ranks in groups.items()],
        "starttime": starttime,
        "expiration": expiration,
        "nodelist": [_hosts(tuple(pool.nodes[rank].host for rank in sorted(allocation)))],
    }
    if nslots:
        execution["nslots"] = nslots
    properties = _properties(pool, allocation)
    if properties:
        execution["properties"] = properties
    return {"version": 1, "execution": execution}


def summary(allocation: Allocation) -> str:
    """The short form for people, such as "rank[0-1]/core[0-3],gpu0"."""
    grouped = _grouped(allocation)
    return " ".join(f"rank{_bracketed(_ranks(ranks))}/{_held(masks)}" for masks, ranks in grouped.items())


def _grouped(allocation: Allocation) -> dict[tuple[int, int], list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for rank, masks in allocation.items():
        groups.setdefault(masks, []).append(rank)
    return groups


@lru_cache(maxsize=4096)
def _held(masks: tuple[int, int]) -> str:
    named = zip(("core", "gpu"), masks, strict=True)
    return ",".join(f"{name}{_bracketed(text_of(mask))}" for name, mask in named if mask)


def _bracketed(ids: str) -> str:
    return ids if ids.isdecimal() else f"[{ids}]"


def _ranks(ranks: list[int]) -> str:
    return str(ranks[0]) if len(ranks) == 1 else str(IDset(ranks))


def _children(cores: int, gpus: int) -> dict[str, str]:
    return {"core": text_of(cores), "gpu": text_of(gpus)} if gpus else {"core": text_of(cores)}


@lru_cache(maxsize=1024)
def _hosts(hosts: tuple[str, ...]) -> str:
    return str(Hostlist(hosts))


def _properties(pool: Pool, ranks: Iterable[int]) -> dict[str, str]:
    """What of the pool's properties applies; those of the instance alone (RFC 20, "+") are not passed on."""
    if not pool.properties:
        return {}
    held = IDset(ranks)
    shared = {name: held & ids for name, ids in pool.properties.items() if not name.startswith("+")}
    return {name: str(ids) for name, ids in shared.items() if ids}
