"""Keeps the instance's start and finish times in the KVS, for flux-startlog(1)."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.eventlog import Event, decode
from flux.hooks.rc import hookimpl
from flux.kvs import treeobj
from flux.kvs.requests import commit_async, lookup_async
from flux.kvs.txn import KVSTxn

if TYPE_CHECKING:
    from flux.module.log import Logger

KEY = "admin.eventlog"


@hookimpl
async def rc1(flux: AsyncFlux, rank: int, attrs: Mapping[str, str], log: Logger) -> None:
    """Write down the start, and say so when the run before has not finished."""
    if rank > 0:
        return
    try:
        last = await _last_event(flux)
        if last == "start":
            log.error("Flux was not shut down properly: data written before the crash may be lost")
        await _append(flux, Event(time.time(), "start", {"version": 1, "core_version": attrs["version"]}))
    except FluxError as exc:
        _pass_over(exc, "start", log)


@hookimpl
async def rc3(flux: AsyncFlux, rank: int, log: Logger) -> None:
    """Write down the finish."""
    if rank > 0:
        return
    try:
        await _append(flux, Event(time.time(), "finish", {"version": 1}))
    except FluxError as exc:
        _pass_over(exc, "finish", log)


def _pass_over(error: FluxError, what: str, log: Logger) -> None:
    """An instance without a KVS has nowhere to write, and one whose disk is full goes on read-only."""
    if error.errno == errno.ENOSPC:
        log.error(f"the {what} of the instance is not written down: {error.strerror}")
    elif error.errno != errno.ENOSYS:
        raise error


async def _last_event(flux: AsyncFlux) -> str:
    """Name of the newest event; "" when there is none."""
    try:
        value = treeobj.decode_val(await lookup_async(flux, KEY))
    except FileNotFoundError:
        return ""
    events = decode(value)
    return events[-1].name if events else ""


async def _append(flux: AsyncFlux, event: Event) -> None:
    await commit_async(flux, KVSTxn().append(KEY, event.encode()))
