"""Where `flux exec --jobid` runs: the subprocess server of a job's shells, and the brokers that these are on."""

from __future__ import annotations

from flux_cli.common import die
from flux_cli.job_ids import no_such_job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.JobID import JobID

__all__ = ["job_ranks", "job_service"]

_RUN = 16


def job_service(userid: int, jobid: JobID) -> str:
    """Name of the subprocess server in a job's shells."""
    return f"{userid}-shell-{jobid.f58plain}.rexec"


def job_ranks(handle: Flux, jobid: JobID) -> tuple[list[int], str]:
    """The brokers of a job that runs, in order of its nodes, and the name of its service there.

    Raises:
        CommandError: there is no such job, or it does not run.
    """
    from flux.idset import IDset

    request = {"id": int(jobid), "attrs": ["userid", "state", "ranks"]}
    try:
        job = handle.rpc("job-list.list-id", request).get()["job"]
    except OSError as exc:
        raise no_such_job(exc, jobid) from None
    if job["state"] != _RUN or not job.get("ranks"):
        die(f"{jobid.orig}: the job does not run")
    return list(IDset(job["ranks"])), job_service(job["userid"], jobid)
