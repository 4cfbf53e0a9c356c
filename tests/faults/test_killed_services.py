"""Services are killed while hundreds of jobs run and wait: none may be lost, killed or run twice."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.eventlog import Event, decode
from flux.job.fluid import encode
from flux.kvs import lookup_async
from flux.testing import Instance, wait_for

JOBS = 120
CONFIG = f"""
[resource]
noverify = true
[[resource.config]]
hosts = "{socket.gethostname().partition(".")[0]}"
cores = "0-39"
"""
COMPOSITION = """
extends = "default"
[modules.job-exec]
isolated = true
restart = "on-failure"
[modules.sched-simple]
isolated = true
restart = "on-failure"
"""
POLICY = """
from flux.hooks.jobtap import hookimpl


@hookimpl
def job_state_priority(job):
    return 1000 + job.urgency


@hookimpl
def job_state_run(job):
    job.prolog_start("policy")
    job.prolog_finish("policy", 0)
"""
ONCE = ("alloc", "start", "finish", "free", "clean")


def flux(here: Instance, *words: str) -> str:
    result = here.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def module_pid(handle: Any, name: str) -> int:
    """Process of a module that answers, 0 when there is none."""
    try:
        handle.rpc(f"{name}.ping", {"seq": 1}).get()
    except FluxError:
        return 0
    modules = handle.rpc("module.list", {}).get()["mods"]
    return next((int(module.get("pid", 0)) for module in modules if module["name"] == name), 0)


def policy_pid(handle: Any, name: str) -> int:
    return int(handle.rpc("job-manager.stats-get", {}).get()["isolated"][name]["pid"])


def kill(pid_of: Callable[[], int], what: str) -> None:
    """Kill the process, and wait until another one has taken over."""
    before = wait_for(pid_of, what=what)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid_of() not in (0, before), what=f"{what} again")


def inactive(handle: Any) -> int:
    return int(handle.rpc("job-list.job-stats", {}).get()["job_states"]["inactive"])


def whole_eventlog(handle: Any, jobid: int) -> list[Event]:
    """Events of a job once the last one is in the KVS, which is after others have heard of it; before, none."""
    log = decode(lookup_async(handle, f"{encode(jobid, 'kvs')}.eventlog").value())
    return log if log[-1].name == "clean" else []


@pytest.mark.timeout(240)
def test_jobs_outlive_the_processes_of_services_and_policies(tmp_path: Path) -> None:
    conf, plugins, policy = tmp_path / "flux.toml", tmp_path / "plugins.toml", tmp_path / "policy.py"
    conf.write_text(CONFIG)
    plugins.write_text(COMPOSITION)
    policy.write_text(POLICY)
    with Instance(1, args=[f"--config-path={conf}", f"--plugins={plugins}"], timeout=120.0) as here:
        handle = here.handle()
        flux(here, "jobtap", "load", "--isolated", "--deadline=60s", str(policy))
        test = "--setattr=system.exec.test.run_duration"
        flux(here, "submit", f"--cc=1-{JOBS}", "--quiet", "-t10m", f"{test}=0.2", "true")
        endless = flux(here, "submit", "--urgency=31", "-t1h", f"{test}=1h", "true").strip()
        flux(here, "job", "wait-event", endless, "start")
        for name in ("job-exec", "sched-simple", "job-exec"):
            kill(lambda name=name: module_pid(handle, name), name)  # type: ignore[misc]
            done = inactive(handle)
            wait_for(lambda done=done: inactive(handle) > done or inactive(handle) == JOBS, what="jobs that end")  # type: ignore[misc]
        kill(lambda: policy_pid(handle, "policy.py"), "the policy")
        flux(here, "cancel", endless)
        flux(here, "queue", "drain")
        jobs = handle.rpc("job-list.list", {"max_entries": 0, "attrs": [], "constraint": {}}).get()["jobs"]
        assert len(jobs) == JOBS + 1
        for job in jobs:
            log = wait_for(lambda job=job: whole_eventlog(handle, job["id"]), what="a whole eventlog")  # type: ignore[misc]
            names = Counter(event.name for event in log)
            assert [names[name] for name in ONCE] == [1] * len(ONCE), names
            assert names["exception"] == (encode(job["id"]) == endless), names
            assert names["prolog-start"] == names["prolog-finish"] == 1, names
            assert next(event for event in log if event.name == "priority").context["priority"] in (1016, 1031)
