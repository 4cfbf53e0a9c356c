"""List jobs (RFC 43; manual page ``flux.job.list``)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_ACTIVE,
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_DEPEND,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_PENDING,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_RUNNING,
    FLUX_JOB_STATE_SCHED,
    FLUX_USERID_UNKNOWN,
)
from flux.errors import FluxError
from flux.future import Future, WaitAllFuture
from flux.job.info import JobInfo
from flux.job.JobID import JobID
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle

__all__ = [
    "JobList",
    "JobListIdRPC",
    "JobListIdsFuture",
    "JobListRPC",
    "constraint",
    "get_job",
    "job_list",
    "job_list_id",
    "job_list_inactive",
]

PAGE = 1000
"""Jobs of a page, unless another number is asked for."""


class JobListRPC(RPC):
    """A list of jobs."""

    def get_jobs(self) -> list[dict[str, Any]]:
        """The jobs as they came, blocking."""
        jobs: list[dict[str, Any]] = self.get()["jobs"]
        return jobs

    def get_jobinfos(self) -> Iterable[JobInfo]:
        """The jobs, blocking."""
        return (JobInfo(job) for job in self.get_jobs())


class JobListIdRPC(RPC):
    """One job, by its id."""

    def __init__(self, flux_handle: Handle, topic: str, payload: Any) -> None:
        jobid = payload["id"]
        self.jobid = jobid if isinstance(jobid, JobID) else JobID(jobid)
        super().__init__(flux_handle, topic, payload)

    def get_job(self) -> dict[str, Any]:
        """The job as it came, blocking."""
        job: dict[str, Any] = self.get()["job"]
        return job

    def get_jobinfo(self) -> JobInfo:
        return JobInfo(self.get_job())


class JobListIdsFuture(WaitAllFuture):
    """Jobs by their ids.

    Attributes:
        errors: a sentence for each id that is of no job, after the jobs were got.
    """

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def get_jobs(self) -> list[dict[str, Any]]:
        """The jobs that there are, blocking."""
        self.errors = []
        return [job for rpc in self.children.values() for job in self._job_of(rpc)]

    def _job_of(self, rpc: Future) -> list[dict[str, Any]]:
        assert isinstance(rpc, JobListIdRPC)
        try:
            return [rpc.get_job()]
        except FluxError as exc:
            text = "unknown job id" if exc.errno == errno.ENOENT else str(exc)
            self.errors.append(f"{rpc.jobid.orig}: {text}")
            return []

    def get_jobinfos(self) -> Iterable[JobInfo]:
        return [JobInfo(job) for job in self.get_jobs()]


def constraint(
    userid: int = FLUX_USERID_UNKNOWN,
    states: int = 0,
    results: int = 0,
    name: str | None = None,
    queue: Iterable[str] | str | None = None,
) -> dict[str, Any]:
    """An RFC 43 constraint: all of what is given; states and results are alternatives.

    Args:
        userid: FLUX_USERID_UNKNOWN for any. states, results: masks, 0 for any.
    """
    terms: list[dict[str, Any]] = []
    if userid != FLUX_USERID_UNKNOWN:
        terms.append({"userid": [userid]})
    if name is not None:
        terms.append({"name": [name]})
    if queue:
        terms.append({"queue": [queue] if isinstance(queue, str) else list(queue)})
    wanted = [{key: [mask]} for key, mask in (("states", states), ("results", results)) if mask]
    if wanted:
        terms.append({"or": wanted})
    return {"and": terms}


_constraint = constraint


def job_list(
    flux_handle: Handle,
    max_entries: int = 1000,
    attrs: Iterable[str] = (),
    userid: int | None = None,
    states: int = 0,
    results: int = 0,
    since: float = 0.0,
    name: str | None = None,
    queue: Iterable[str] | str | None = None,
    constraint: dict[str, Any] | None = None,
) -> JobListRPC:
    """Ask for jobs: pending by priority, then running, then inactive ones, newest first.

    Args:
        max_entries: 0 for no limit. attrs: names of RFC 43, () for all.
        userid: default the caller, FLUX_USERID_UNKNOWN for all users.
        states, results: masks of FLUX_JOB_STATE_* and FLUX_JOB_RESULT_*, 0 for any.
        since: only inactive jobs that ended after this time (seconds since the epoch).
        constraint: an RFC 43 constraint that has to hold as well.

    Errors, when the jobs are got: EPROTO an argument is out of range; EINVAL there is no such attribute.
    """
    wanted = _constraint(os.getuid() if userid is None else userid, states, results, name, queue)
    return JobListRPC(flux_handle, "job-list.list", _request(max_entries, attrs, wanted, since, constraint))


def _request(
    max_entries: int,
    attrs: Iterable[str],
    wanted: dict[str, Any],
    since: float,
    constraint: dict[str, Any] | None,
) -> dict[str, Any]:
    if constraint:
        wanted["and"].append(constraint)
    payload: dict[str, Any] = {
        "max_entries": int(max_entries),
        "attrs": list(attrs) or ["all"],
        "constraint": wanted,
    }
    if since > 0.0:
        payload["since"] = since
    return payload


def job_list_inactive(
    flux_handle: Handle,
    since: float = 0.0,
    max_entries: int = 1000,
    attrs: Iterable[str] = (),
    name: str | None = None,
    queue: Iterable[str] | str | None = None,
    constraint: dict[str, Any] | None = None,
) -> JobListRPC:
    """`job_list` of the inactive jobs of all users."""
    states = FLUX_JOB_STATE_INACTIVE
    return job_list(flux_handle, max_entries, attrs, FLUX_USERID_UNKNOWN, states, 0, since, name, queue, constraint)


def job_list_id(flux_handle: Handle, jobid: int | str, attrs: Iterable[str] = (), state: int = 0) -> JobListIdRPC:
    """Ask for one job.

    Args:
        state: one of FLUX_JOB_STATE_*: answer only when the job has got there; 0 for at once.

    Errors, when the job is got: ENOENT there is no such job.
    """
    wanted = jobid if isinstance(jobid, JobID) else JobID(jobid)
    payload: dict[str, Any] = {"id": wanted, "attrs": list(attrs) or ["all"]}
    if state:
        payload["state"] = state
    return JobListIdRPC(flux_handle, "job-list.list-id", payload)


def get_job(flux_handle: Handle, jobid: int | str) -> dict[str, Any] | None:
    """What is known of one job, blocking, as JSON can hold it (`JobInfo.to_dict`); None when there is no such job."""
    try:
        return job_list_id(flux_handle, jobid).get_jobinfo().to_dict(filtered=False)
    except FileNotFoundError:
        return None


class JobList:
    """A query for jobs.

    Args:
        attrs: RFC 43 attributes to fetch.
        filters: names of states and results, such as "pending" or "failed"; default any.
        ids: jobs to return, whatever the filters say.
        user: name or number; default all users. max_entries: limit, 0 for none.
        since, name, queue, constraint: as for `job_list`.

    Attributes:
        errors: sentences on ids that are of no job, after `jobs`.

    Raises:
        ValueError: no such filter or user.
    """

    STATES = {
        "depend": FLUX_JOB_STATE_DEPEND,
        "priority": FLUX_JOB_STATE_PRIORITY,
        "sched": FLUX_JOB_STATE_SCHED,
        "run": FLUX_JOB_STATE_RUN,
        "cleanup": FLUX_JOB_STATE_CLEANUP,
        "inactive": FLUX_JOB_STATE_INACTIVE,
        "pending": FLUX_JOB_STATE_PENDING,
        "running": FLUX_JOB_STATE_RUNNING,
        "active": FLUX_JOB_STATE_ACTIVE,
    }
    RESULTS = {
        "completed": FLUX_JOB_RESULT_COMPLETED,
        "failed": FLUX_JOB_RESULT_FAILED,
        "canceled": FLUX_JOB_RESULT_CANCELED,
        "timeout": FLUX_JOB_RESULT_TIMEOUT,
    }

    def __init__(
        self,
        flux_handle: Handle,
        attrs: Iterable[str] = ("all",),
        filters: Iterable[str] = (),
        ids: Iterable[int | str] = (),
        user: str | int | None = None,
        max_entries: int = 1000,
        since: float = 0.0,
        name: str | None = None,
        queue: Iterable[str] | str | None = None,
        constraint: dict[str, Any] | None = None,
    ) -> None:
        self.handle = flux_handle
        self.attrs = list(attrs)
        self.ids = list(ids)
        self.max_entries = max_entries
        self.since = since
        self.name = name
        self.queue = queue
        self.constraint = constraint
        self.states = 0
        self.results = 0
        self.userid = FLUX_USERID_UNKNOWN
        self.errors: list[str] = []
        self._future: JobListRPC | JobListIdsFuture | None = None
        for fname in filters:
            self.add_filter(fname)
        if user is not None:
            self.set_user(user)

    def set_user(self, user: str | int) -> None:
        """Only jobs of this user; "all" for every user. ValueError when there is no such user."""
        if user == "all":
            self.userid = FLUX_USERID_UNKNOWN
        elif isinstance(user, int) or user.isdecimal():
            self.userid = int(user)
        else:
            import pwd

            try:
                self.userid = pwd.getpwnam(user).pw_uid
            except KeyError:
                raise ValueError(f"there is no user '{user}'") from None

    def add_filter(self, fname: str) -> None:
        """Add a state or a result that jobs may be in. ValueError when there is none of that name."""
        word = fname.lower()
        if word in self.STATES:
            self.states |= self.STATES[word]
        elif word in self.RESULTS:
            self.results |= self.RESULTS[word]
        else:
            known = ", ".join([*self.STATES, *self.RESULTS])
            raise ValueError(f"there is no job state or result '{fname}': one of {known}")

    def fetch_jobs(self) -> JobListRPC | JobListIdsFuture:
        """Send the query."""
        self._future = self._list_ids() if self.ids else self._list()
        return self._future

    def _list(self, **extra: int) -> JobListRPC:
        wanted = constraint(self.userid, self.states, self.results, self.name, self.queue)
        request = _request(self.max_entries, self.attrs, wanted, self.since, self.constraint)
        return JobListRPC(self.handle, "job-list.list", {**request, **extra})

    def _list_ids(self) -> JobListIdsFuture:
        future = JobListIdsFuture()
        for jobid in self.ids:
            future.push(job_list_id(self.handle, jobid, self.attrs))
        return future

    def jobs(self) -> list[JobInfo]:
        """The jobs, blocking; sends the query when that was not done."""
        future = self._future or self.fetch_jobs()
        jobs = list(future.get_jobinfos())
        if isinstance(future, JobListIdsFuture):
            self.errors = future.errors
        return jobs

    def pages(self, size: int = PAGE) -> Iterator[list[JobInfo]]:
        """The jobs as of now, some at a time, blocking; the next are on their way while these are looked at.

        A job list service that knows no pages, as that of stock Flux, answers with all jobs in one. Not with ids.
        """
        answer = self._list(page=size)
        while True:
            found = answer.get()
            cursor = found.get("cursor")
            if cursor is not None:
                answer = self._list(cursor=cursor)
            yield [JobInfo(job) for job in found["jobs"]]
            if cursor is None:
                return
