"""The KVS directories of a job (RFC 16; manual page ``flux.job.kvs``)."""

from __future__ import annotations

from flux.job.JobID import JobID
from flux.kvs import get_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.base import Handle
    from flux.kvs.directory import KVSDir

__all__ = ["job_kvs", "job_kvs_guest"]


def job_kvs(flux_handle: Handle, jobid: int) -> KVSDir:
    """The directory of a job. FluxError ENOENT when there is no such job; instance owner only."""
    return get_dir(flux_handle, JobID(jobid).kvs, namespace="primary")


def job_kvs_guest(flux_handle: Handle, jobid: int) -> KVSDir:
    """The part of a job's directory that belongs to its user. FluxError ENOENT before the job has started."""
    return get_dir(flux_handle, f"{JobID(jobid).kvs}.guest", namespace="primary")
