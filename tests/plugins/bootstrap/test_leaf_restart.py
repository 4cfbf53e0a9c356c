"""A leaf of a configured instance is restarted while jobs run and wait: those elsewhere do not notice."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bootstrap_cluster import Cluster

import flux
from flux.constants import FLUX_JOB_STATE_INACTIVE
from flux.eventlog import decode
from flux.job import JobspecV1
from flux.job.fluid import encode
from flux.job.submit import submit_async
from flux.kvs import lookup_async
from flux.testing import wait_for

DEFAULT = Path(__file__).parents[3] / "plugins.toml"
ONCE = ("alloc", "start", "finish", "free", "clean")
RESOURCES = """
[resource]
noverify = true
[[resource.config]]
hosts = "n[0-2]"
cores = "0-3"
"""


def submit(handle: Any, *command: str, host: str = "") -> int:
    """A job of one core, on a host if one is named."""
    jobspec = JobspecV1.from_command(list(command))
    jobspec.environment = {"PATH": os.environ["PATH"]}
    jobspec.cwd = "/"
    if host:
        jobspec.setattr("system.constraints", {"hostlist": [host]})
    return int(submit_async(handle, jobspec.jobspec).get_id())


def events(handle: Any, jobid: int) -> list[Any]:
    return decode(lookup_async(handle, f"{encode(jobid, 'kvs')}.eventlog").value())


def names(handle: Any, jobid: int) -> Counter[str]:
    return Counter(event.name for event in events(handle, jobid))


def up(handle: Any) -> str:
    return str(handle.rpc("resource.status", nodeid=0).get()["online"])


def states(handle: Any) -> Counter[int]:
    jobs = handle.rpc("job-list.list", {"max_entries": 0, "attrs": ["state"], "constraint": {}}).get()["jobs"]
    return Counter(int(job["state"]) for job in jobs)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["ended", "killed"])
def test_jobs_elsewhere_do_not_notice_the_restart_of_a_leaf(tmp_path: Path, how: str) -> None:
    cluster = Cluster(tmp_path, 3, composition=f"--plugins={DEFAULT}")
    cluster.config.write_text(cluster.config.read_text() + RESOURCES)
    try:
        for rank in range(3):
            cluster.start(rank, *(["-Sbroker.rc2_none=1"] if rank == 0 else []))
        cluster.wait_online("0-2")
        with flux.Flux(cluster.uri(0)) as handle:
            wait_for(lambda: up(handle) == "0-2", what="all nodes")
            stays, lost = submit(handle, "sleep", "600", host="n1"), submit(handle, "sleep", "600", host="n2")
            for jobid in (stays, lost):
                wait_for(lambda jobid=jobid: names(handle, jobid)["start"], what="jobs that run")  # type: ignore[misc]
            many = [submit(handle, "sleep", "0.1", host=f"n{n % 2}") for n in range(20)]
            cluster.brokers[2].terminate() if how == "ended" else cluster.brokers[2].kill()
            wait_for(lambda: up(handle) == "0-1", what="rank 2 to be gone")
            cluster.brokers[2].communicate(timeout=40)
            cluster.start(2)
            wait_for(lambda: up(handle) == "0-2", what="rank 2 again")
            many.append(submit(handle, "true", host="n2"))
            wait_for(lambda: states(handle)[FLUX_JOB_STATE_INACTIVE] == len(many) + 1, what="all but one to end")
            for jobid in [*many, lost]:  # others hear of an event before it is in the KVS
                wait_for(lambda jobid=jobid: names(handle, jobid)["clean"], what="the last event on record")  # type: ignore[misc]
            for jobid in many:
                log = names(handle, jobid)
                assert [log[name] for name in ONCE] == [1] * len(ONCE) and not log["exception"], log
            assert names(handle, stays)["exception"] == names(handle, stays)["finish"] == 0
            ends = [event.context for event in events(handle, lost) if event.name == "exception"]
            assert [end["type"] for end in ends] == (["node-failure"] if how == "killed" else [])
            assert names(handle, lost)["clean"] == 1
            handle.rpc("job-manager.raise", {"id": stays, "type": "cancel", "severity": 0}).get()
        assert cluster.end() == 0
    finally:
        cluster.kill()
