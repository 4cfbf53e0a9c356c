"""Ends what runs when an instance ends: queues stop, running jobs are canceled, and it waits for their end."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flux.constants import FLUX_JOB_STATE_CLEANUP, FLUX_JOB_STATE_RUN
from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.hooks.rc import hookimpl

if TYPE_CHECKING:
    from flux.module.log import Logger

_EVERYBODY = -1
_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("job-manager.queue-start", {"start": False, "all": True, "nocheckpoint": True}),
    ("resource.acquire-mute", {}),
    (
        "job-manager.raiseall",
        {
            "dry_run": False,
            "userid": _EVERYBODY,
            "states": FLUX_JOB_STATE_RUN | FLUX_JOB_STATE_CLEANUP,
            "severity": 0,
            "type": "cancel",
            "note": "the instance is shutting down",
        },
    ),
)
_PATIENCE = 2.0
"""Seconds between looks at whether there is still an execution service that can end jobs."""
_LOOKS = 3


@hookimpl
async def cleanup(flux: AsyncFlux, log: Logger) -> None:
    """Stop queues, mute the scheduler's view of resources, cancel, wait; pending jobs stay for the next start."""
    if "FLUX_DISABLE_JOB_CLEANUP" in os.environ:
        return
    for topic, payload in _STEPS:
        with _if_there():
            await flux.rpc(topic, payload)
    with _if_there():
        await _wait_idle(flux, log)


@contextmanager
def _if_there() -> Iterator[None]:
    """Pass over a service that this instance does not have."""
    try:
        yield
    except FluxError as exc:
        if exc.errno != errno.ENOSYS:
            raise


async def _wait_idle(flux: AsyncFlux, log: Logger) -> None:
    """Wait until no job runs, unless there is nothing that could end those that do.

    An execution service that has failed may be started again meanwhile, so that one look is not enough.
    """
    over = asyncio.Event()
    idle = flux.rpc("job-manager.idle", {})
    idle.then(lambda _idle: over.set())
    looks = 0
    while not await _is_set(over):
        execution = (await flux.rpc("job-manager.stats-get"))["execution"]
        looks = 0 if execution["service"] else looks + 1
        if looks == _LOOKS:
            log.error(f"no execution service ends the jobs that run: {execution['jobs']} not waited for any longer")
            return
    idle.get()


async def _is_set(event: asyncio.Event) -> bool:
    """Give an event some time."""
    try:
        await asyncio.wait_for(event.wait(), _PATIENCE)
    except TimeoutError:
        return False
    return True
