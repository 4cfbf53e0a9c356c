"""How long the job may run that this program is part of (flux_job_timeleft(3))."""

from __future__ import annotations

import errno
import math
import os
from time import time

from flux.errors import FluxError
from flux.job.JobID import JobID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux

__all__ = ["timeleft"]


def timeleft(flux_handle: Flux | None = None) -> float:
    """Seconds until the job of this process has to end, or else the instance; inf without a limit.

    Args:
        flux_handle: default: a connection to the enclosing instance, for this question only.

    Raises:
        FluxError: EINVAL when the job is not running.
    """
    if flux_handle is None:
        from flux.core.handle import Flux

        with Flux() as handle:
            return timeleft(handle)
    expiration = _expiration(flux_handle, os.environ.get("FLUX_JOB_ID"))
    return max(0.0, expiration - time()) if expiration else math.inf


def _expiration(handle: Flux, job: str | None) -> float:
    """Seconds since the epoch, 0 for never."""
    if not job:
        R = handle.rpc("resource.status", nodeid=0).get()["R"]
        return float(R["execution"].get("expiration", 0.0))
    from flux.constants import FLUX_JOB_STATE_RUNNING
    from flux.job.list import job_list_id

    found = job_list_id(handle, JobID(job), ["state", "expiration"]).get_job()
    if not found["state"] & FLUX_JOB_STATE_RUNNING:
        raise FluxError(errno.EINVAL, f"job {job} is not running")
    return float(found.get("expiration", 0.0))
