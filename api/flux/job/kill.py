"""Cancel and signal jobs (flux-job(1); manual page ``flux.job.kill``)."""

from __future__ import annotations

from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle

__all__ = ["cancel", "cancel_async", "job_raise", "job_raise_async", "kill", "kill_async"]

SIGTERM = 15


def kill_async(flux_handle: Handle, jobid: int, signum: int | None = None) -> RPC:
    """Send a signal to the tasks of a running job.

    Args:
        signum: default SIGTERM.

    Errors, when the future is got: EINVAL the job is unknown or not running, or there is no such signal;
    EPERM somebody else's job.
    """
    return flux_handle.rpc("job-manager.kill", {"id": int(jobid), "signum": SIGTERM if signum is None else signum})


def kill(flux_handle: Handle, jobid: int, signum: int | None = None) -> None:
    """`kill_async`, blocking until the signal is on its way."""
    kill_async(flux_handle, jobid, signum).get()


def cancel_async(flux_handle: Handle, jobid: int, reason: str | None = None) -> RPC:
    """Cancel a pending or running job: raise an exception of type "cancel" and severity 0.

    Errors, when the future is got: ENOENT the job is unknown or inactive; EPERM somebody else's job.
    """
    return job_raise_async(flux_handle, jobid, "cancel", 0, reason)


def cancel(flux_handle: Handle, jobid: int, reason: str | None = None) -> None:
    """`cancel_async`, blocking until the exception is raised."""
    cancel_async(flux_handle, jobid, reason).get()


def job_raise_async(flux_handle: Handle, jobid: int, exc_type: str, severity: int = 0, note: str | None = None) -> RPC:
    """Raise an exception on an active job (RFC 21).

    Args:
        exc_type: a word, such as "cancel".
        severity: 0 (ends the job) to 7.

    Errors, when the future is got: as for `cancel_async`; EPROTO exc_type or severity out of range.
    """
    payload: dict[str, Any] = {"id": int(jobid), "type": exc_type, "severity": severity}
    if note is not None:
        payload["note"] = note
    return flux_handle.rpc("job-manager.raise", payload)


def job_raise(flux_handle: Handle, jobid: int, exc_type: str, severity: int = 0, note: str | None = None) -> None:
    """`job_raise_async`, blocking until the exception is raised."""
    job_raise_async(flux_handle, jobid, exc_type, severity, note).get()
