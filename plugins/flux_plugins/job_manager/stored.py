"""Reads what the job manager finds in the KVS when it starts. A key that is not there is None, or has no names."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from flux.constants import FLUX_KVS_READDIR
from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.kvs.requests import lookup_async
from flux.kvs.treeobj import decode_val

__all__ = ["names", "read", "read_json"]


async def names(flux: AsyncFlux, folder: str) -> list[str]:
    """What a directory holds, in order."""
    entries = await _lookup(flux, folder, FLUX_KVS_READDIR)
    return sorted(entries["data"]) if entries else []


async def read(flux: AsyncFlux, key: str) -> bytes | None:
    """The value of a key."""
    obj = await _lookup(flux, key)
    return None if obj is None else decode_val(obj)


async def read_json(flux: AsyncFlux, key: str) -> Any:
    """The object of which a key has the JSON. ValueError when it has none."""
    raw = await read(flux, key)
    return None if raw is None else msgspec.json.decode(raw)


async def _lookup(flux: AsyncFlux, key: str, flags: int = 0) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await lookup_async(flux, key, flags, namespace="primary")
    except FluxError as exc:
        if exc.errno == errno.ENOENT:
            return None
        raise
    return found
