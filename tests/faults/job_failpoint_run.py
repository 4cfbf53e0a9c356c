"""Rank 0 crashes wherever a job is written, one moment after the other: what is on disk of jobs goes on as it was.

`python tests/faults/job_failpoint_run.py` goes through all of them; it exits with 1 when anything was wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from flux import eventlog, kvs
from flux.constants import FLUX_KVS_SYNC
from flux.job import JobspecV1
from flux.job.fluid import encode
from flux.job.submit import submit_async
from flux.kvs import KVSTxn
from flux.testing import wait_for
from flux.testing.crashes import Scenario, main
from flux.testing.failpoints import POINTS

JOBS = [name for name in POINTS if name.startswith("job-")]


class Jobs(Scenario):
    """Jobs one after the other, put on record when accepted and when over, in one database over many instances.

    Attributes:
        accepted, over: ids of the jobs that were on record as that, in order.
    """

    def __init__(self, statedir: Path) -> None:
        super().__init__(statedir)
        self.accepted: list[int] = []
        self.over: list[int] = []

    def work(self, handle: Any) -> None:
        self._check(handle)
        for _ in range(2):
            self._run_job(handle)

    def _check(self, handle: Any) -> None:
        """Jobs on record as over are that; those on record as accepted go on, or are told off, and come to an end."""
        for jobid in self.over:
            assert names_of(handle, jobid)[-1] == "clean"
        wait_for(lambda: not active(handle), timeout=60, what="every job that was found is over")
        for jobid in self.accepted:
            wait_for_clean(handle, jobid)
            assert names_of(handle, jobid)[0] == "submit"
        wait_for(lambda: set(self.accepted) <= listed(handle), what="all jobs are listed")

    def _run_job(self, handle: Any) -> None:
        spec = JobspecV1.from_command(["true"]).jobspec
        jobid = int(submit_async(handle, spec, 16, True).get_id())
        assert not self.accepted or jobid > self.accepted[-1]
        sync(handle)
        self.accepted.append(jobid)
        assert handle.rpc("job-manager.wait", {"id": jobid}).get()["success"]
        wait_for_clean(handle, jobid)
        sync(handle)
        self.over.append(jobid)


def sync(handle: Any) -> None:
    """Put what was acknowledged until now on record."""
    kvs.commit(handle, FLUX_KVS_SYNC, txn=KVSTxn())


def names_of(handle: Any, jobid: int) -> list[str]:
    """Names of the events in a job's eventlog."""
    log = kvs.lookup_async(handle, f"{encode(jobid, 'kvs')}.eventlog").value()
    return [event.name for event in eventlog.decode(log)]


def wait_for_clean(handle: Any, jobid: int) -> None:
    wait_for(lambda: names_of(handle, jobid)[-1] == "clean", what="the last event is written")


def listed(handle: Any) -> set[int]:
    """Ids of the jobs that `flux jobs` would show."""
    return {job["id"] for job in handle.rpc("job-list.list", {"max_entries": 0, "attrs": []}).get()["jobs"]}


def active(handle: Any) -> list[Any]:
    """Jobs that the job manager knows and that are not over."""
    return list(handle.rpc("job-manager.list", {"max_entries": 0}).get()["jobs"])


if __name__ == "__main__":
    sys.exit(main("Crash wherever a job is written, and look what is left.", JOBS, Jobs))
