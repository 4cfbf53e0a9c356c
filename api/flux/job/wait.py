"""Wait for jobs to end (manual page ``flux.job.wait``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_JOBID_ANY
from flux.errors import FluxError
from flux.job.event import EventStream
from flux.job.JobID import JobID
from flux.job.outcome import JobResult
from flux.rpc import RPC

if TYPE_CHECKING:
    from flux.core.base import Handle
    from flux.job.info import JobInfo

__all__ = ["JobResultFuture", "JobWaitFuture", "JobWaitResult", "result", "result_async", "wait", "wait_async"]

_ANY_ON_THE_WIRE = -1


class JobWaitResult(NamedTuple):
    """How a waitable job ended.

    Attributes:
        jobid: its id.
        success: True when it ended with status 0.
        errstr: why not; of no meaning on success.
    """

    jobid: JobID
    success: bool
    errstr: str


class JobWaitFuture(RPC):
    """A wait for a waitable job."""

    def get_status(self) -> JobWaitResult:
        """How the job ended, blocking until it has."""
        payload = self.get()
        return JobWaitResult(JobID(payload["id"]), payload["success"], payload["errstr"])


def wait_async(flux_handle: Handle, jobid: int = FLUX_JOBID_ANY) -> JobWaitFuture:
    """Wait for a job that was submitted with waitable=True; a job can be waited for once.

    Args:
        jobid: default: whichever waitable job ends next.

    Errors, when the status is got: ECHILD there is no such waitable job (left); EPERM not the instance owner.
    """
    wanted = _ANY_ON_THE_WIRE if jobid == FLUX_JOBID_ANY else int(jobid)
    return JobWaitFuture(flux_handle, "job-manager.wait", {"id": wanted})


def wait(flux_handle: Handle, jobid: int = FLUX_JOBID_ANY) -> JobWaitResult:
    """`wait_async`, blocking."""
    return wait_async(flux_handle, jobid).get_status()


class JobResultFuture(EventStream):
    """Fulfilled once with what became of a job, when its eventlog has ended."""

    def __init__(self, flux_handle: Handle, jobid: int, flags: int = 0) -> None:
        self._result = JobResult(int(jobid))
        super().__init__(flux_handle, jobid, "eventlog", self._result.on_event, self._eventlog_ended, flags)

    def _eventlog_ended(self, error: FluxError | None) -> None:
        RPC.fulfill(self, error or self._result.as_dict())

    def _convert(self, result: Any) -> Any:
        return result

    def _more(self) -> bool:
        return False

    def get_dict(self) -> dict[str, Any]:
        """The result under the names of RFC 43, blocking until the job is inactive."""
        found: dict[str, Any] = self.get()
        return found

    def get_info(self) -> JobInfo:
        """The same as a `flux.job.info.JobInfo`, with the fields that an eventlog tells of."""
        from flux.job.info import JobInfo

        return JobInfo(self.get_dict())


def result_async(flux_handle: Handle, jobid: int, flags: int = 0) -> JobResultFuture:
    """Follow a job, waitable or not, active or not, to its end.

    Errors, when the result is got: ENOENT no such job; EPERM somebody else's job.
    """
    return JobResultFuture(flux_handle, jobid, flags)


def result(flux_handle: Handle, jobid: int, flags: int = 0) -> JobInfo:
    """`result_async`, blocking."""
    return result_async(flux_handle, jobid, flags).get_info()
