"""Schedulers are exchanged while jobs run and wait: none may be lost, killed or run twice."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.eventlog import Event, decode
from flux.job.fluid import encode
from flux.kvs import lookup_async
from flux.testing import Instance, wait_for

JOBS = 500
CORES = 160
CONFIG = f"""
[resource]
noverify = true
[[resource.config]]
hosts = "{{host}}"
cores = "0-{CORES - 1}"
"""


def configured(folder: Path) -> Path:
    """A configuration in a folder."""
    file = folder / "flux.toml"
    file.write_text(CONFIG.format(host=socket.gethostname().partition(".")[0]))
    return file


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Instance]:
    """An instance of one broker that takes itself to have many cores."""
    with Instance(1, args=[f"--config-path={configured(tmp_path)}"], timeout=120.0) as here:
        yield here


def flux(here: Instance, *words: str) -> str:
    result = here.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def whole_eventlog(handle: Any, jobid: int) -> list[Event]:
    """Events of a job once the last one is in the KVS, which is after others have heard of it; before, none."""
    log = decode(lookup_async(handle, f"{encode(jobid, 'kvs')}.eventlog").value())
    return log if log[-1].name == "clean" else []


def submit(here: Instance, jobs: int) -> str:
    """Start so many test jobs, and one that does not end; gives the id of that."""
    test = "--setattr=system.exec.test.run_duration"
    flux(here, "submit", f"--cc=1-{jobs}", "--quiet", "-t10m", f"{test}=1", "true")
    endless = flux(here, "submit", "--urgency=31", "-t1h", f"{test}=1h", "true").strip()
    flux(here, "job", "wait-event", endless, "start")
    return endless


def check(handle: Any, count: int, endless: str) -> None:
    """All jobs have run once; the endless one was canceled."""
    jobs = handle.rpc("job-list.list", {"max_entries": 0, "attrs": ["result"], "constraint": {}}).get()["jobs"]
    assert len(jobs) == count + 1
    for job in jobs:
        log = wait_for(lambda job=job: whole_eventlog(handle, job["id"]), what="a whole eventlog")  # type: ignore[misc]
        names = Counter(event.name for event in log)
        assert names["alloc"] == names["start"] == names["finish"] == 1, names
        assert names["exception"] == (encode(job["id"]) == endless)


@pytest.mark.timeout(240)
def test_no_job_is_lost_killed_or_run_twice(large: Instance) -> None:
    handle = large.handle()
    endless = submit(large, JOBS)
    flux(large, "module", "reload", "sched-simple")
    flux(large, "module", "remove", "sched-simple")
    flux(large, "module", "load", "sched-backfill")
    wait_for(lambda: running(handle, "sched-backfill") > 0, what="jobs with the other scheduler")
    flux(large, "module", "remove", "sched-backfill")
    flux(large, "module", "load", "sched-simple", "alloc-mode=worst-fit", "queue-depth=8")
    flux(large, "cancel", endless)
    flux(large, "queue", "drain")
    check(handle, JOBS, endless)
    assert running(handle) == 0


@pytest.mark.timeout(240)
def test_a_scheduler_may_be_killed(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins.toml"
    plugins.write_text('extends = "default"\n[modules.sched-simple]\nisolated = true\nrestart = "on-failure"\n')
    with Instance(1, args=[f"--config-path={configured(tmp_path)}", f"--plugins={plugins}"], timeout=120.0) as here:
        handle = here.handle()
        endless = submit(here, 200)
        before = scheduler_pid(handle)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: scheduler_pid(handle) not in (0, before), what="the scheduler's restart")
        wait_for(lambda: running(handle) > 0, what="the scheduler to know of jobs")
        flux(here, "cancel", endless)
        flux(here, "queue", "drain")
        check(handle, 200, endless)


def annotation(here: Instance, jobid: str, name: str) -> str:
    return flux(here, "jobs", "-no", f"{{annotations.sched.{name}}}", jobid).strip()


def test_a_job_may_pass_one_that_it_does_not_delay(large: Instance) -> None:
    flux(large, "module", "remove", "sched-simple")
    flux(large, "module", "load", "sched-backfill")
    test = "--setattr=system.exec.test.run_duration=1h"
    large_job = flux(large, "submit", test, "-t1h", f"-n{CORES - 8}", "true").strip()
    flux(large, "job", "wait-event", large_job, "start")
    promised, late = (
        flux(large, "submit", test, f"-t{t}", f"-n{n}", "true").strip() for t, n in (("1h", CORES), ("2h", 1))
    )
    early = flux(large, "submit", test, "-t10m", "-n1", "true").strip()
    flux(large, "job", "wait-event", early, "start")
    assert annotation(large, early, "selection_type") == "backfilled"
    wait_for(lambda: annotation(large, promised, "selection_type") == "reserved", what="the forecast")
    assert float(annotation(large, promised, "t_estimate")) < float(annotation(large, late, "t_estimate"))
    assert annotation(large, promised, "reason_pending").startswith("insufficient resources: 160 cores asked, ")
    assert annotation(large, late, "reason_pending") == "1 core asked, free but kept for jobs ahead of it"
    flux(large, "cancel", "--all")
    flux(large, "queue", "drain")


def scheduler_pid(handle: Any) -> int:
    """Process of the scheduler, 0 when there is none."""
    modules = handle.rpc("module.list", {}).get()["mods"]
    return next((int(module.get("pid", 0)) for module in modules if module["name"] == "sched-simple"), 0)


def running(handle: Any, name: str = "sched-simple") -> int:
    """Jobs that the scheduler knows to hold resources; 0 when there is no scheduler."""
    try:
        return int(handle.rpc(f"{name}.stats-get", {}).get()["running"])
    except FluxError:
        return 0


def test_a_job_that_the_new_scheduler_cannot_place_goes_on(large: Instance, tmp_path: Path) -> None:
    handle = large.handle()
    test = "--setattr=system.exec.test.run_duration=1h"
    jobid = flux(large, "submit", test, f"-n{CORES}", "true").strip()
    flux(large, "job", "wait-event", jobid, "start")
    flux(large, "module", "remove", "sched-simple")
    inventory = json.loads(flux(large, "resource", "R"))
    inventory["execution"]["R_lite"][0]["children"]["core"] = "0-3"
    smaller = tmp_path / "R.json"
    smaller.write_text(json.dumps(inventory))
    flux(large, "resource", "reload", str(smaller))
    flux(large, "module", "load", "sched-simple")
    log = flux(large, "job", "wait-event", jobid, "exception")
    assert 'type="scheduler-restart" severity=3' in log and "do not exist or are taken" in log
    assert flux(large, "jobs", "-no", "{state}", jobid).strip() == "RUN"
    flux(large, "cancel", jobid)
    flux(large, "job", "wait-event", jobid, "clean")
    assert running(handle) == 0
