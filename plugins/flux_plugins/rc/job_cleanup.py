"""Ends what runs when an instance ends: queues stop, running jobs are canceled, and it waits for their end."""

from __future__ import annotations

import errno
import os
from typing import Any

from flux.constants import FLUX_JOB_STATE_CLEANUP, FLUX_JOB_STATE_RUN
from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.hooks.rc import hookimpl

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
    ("job-manager.idle", {}),
)


@hookimpl
async def cleanup(flux: AsyncFlux) -> None:
    """Stop queues, mute the scheduler's view of resources, cancel, wait; pending jobs stay for the next start."""
    if "FLUX_DISABLE_JOB_CLEANUP" in os.environ:
        return
    for topic, payload in _STEPS:
        try:
            await flux.rpc(topic, payload)
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
