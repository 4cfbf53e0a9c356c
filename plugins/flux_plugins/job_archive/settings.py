"""The `[archive]` table (flux-config-archive(5))."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.util import parse_fsd

__all__ = ["Settings", "read_settings"]


class Settings(msgspec.Struct, frozen=True):
    """dbpath: "" for the default. period: seconds between two writes. busytimeout: seconds to wait for a lock."""

    dbpath: str = ""
    period: float = 60.0
    busytimeout: float = 0.05


def read_settings(table: Mapping[str, Any]) -> Settings:
    """FluxError EINVAL names the key that is wrong."""
    for key, value in table.items():
        if key not in ("dbpath", "period", "busytimeout"):
            raise FluxError(errno.EINVAL, f"[archive] {key}: unknown key, there are dbpath, period and busytimeout")
        if not isinstance(value, str) or not value:
            raise FluxError(errno.EINVAL, f"[archive] {key}: expected a text, got {value!r:.60}")
    period = _duration(table, "period", 60.0)
    if period <= 0:
        raise FluxError(errno.EINVAL, "[archive] period: expected a duration above 0")
    return Settings(table.get("dbpath", ""), period, _duration(table, "busytimeout", 0.05))


def _duration(table: Mapping[str, Any], key: str, default: float) -> float:
    try:
        return parse_fsd(table[key]) if key in table else default
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"[archive] {key}: {exc}") from None
