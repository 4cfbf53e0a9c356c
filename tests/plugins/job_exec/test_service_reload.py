"""Services are exchanged in a running instance: jobs that run go on, and others can be run at once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flux.testing import Instance, runs, wait_for


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance(size=2) as instance:
        yield instance


def out(running: Instance, *command: str) -> str:
    return running.run("flux", *command, check=True).stdout.strip()


@contextmanager
def about_to_start(running: Instance) -> Iterator[str]:
    """A job whose shell starts once this has ended: its broker is stopped meanwhile."""
    away = running.broker_pid(1)
    os.kill(away, signal.SIGSTOP)
    try:
        jobid = out(running, "submit", "--requires=rank:1", "echo", "once")
        out(running, "job", "wait-event", "--timeout=30s", "-p", "exec", jobid, "starting")
        yield jobid
    finally:
        os.kill(away, signal.SIGCONT)


def test_a_running_job_outlives_the_job_manager_and_the_scheduler(running: Instance, tmp_path: Path) -> None:
    script = f"until test -e {tmp_path}/end; do sleep 0.1; done; echo over"
    jobid = out(running, "submit", "-N2", "-n2", "sh", "-c", script)
    out(running, "job", "wait-event", "--timeout=30s", jobid, "start")
    for name in ("job-manager", "job-list", "resource", "sched-simple", "job-manager"):
        out(running, "module", "reload", name)
    other = out(running, "submit", "--wait", "-n1", "true")
    (tmp_path / "end").touch()
    assert out(running, "job", "attach", jobid) == "over\nover"
    log = [line.split()[1] for line in out(running, "job", "eventlog", jobid).splitlines()]
    assert log.count("start") == log.count("finish") == log.count("free") == 1
    assert "exception" not in log
    assert out(running, "jobs", "-a", "-n", "-o", "{status}", jobid, other) == "COMPLETED\nCOMPLETED"


def test_what_a_running_job_writes_is_kept_while_the_kvs_is_exchanged(running: Instance, tmp_path: Path) -> None:
    script = f"echo before; until test -e {tmp_path}/end; do sleep 0.1; done; echo after"
    jobid = out(running, "submit", "-N2", "-n2", "sh", "-c", script)
    out(running, "job", "wait-event", "--timeout=30s", "--count=2", "-p", "output", jobid, "data")
    for command in (("reload", "kvs"), ("remove", "-f", "kvs"), ("load", "kvs")):
        out(running, "module", *command)
    (tmp_path / "end").touch()
    assert sorted(out(running, "job", "attach", jobid).split()) == ["after", "after", "before", "before"]
    out(running, "job", "wait-event", "--timeout=30s", jobid, "clean")
    log = out(running, "job", "eventlog", "-p", "exec", jobid)
    assert [log.count(f" {name}") for name in ("shell.init", "shell.start", "complete", "done")] == [1, 1, 1, 1]


def test_services_that_were_removed_find_those_that_stayed_when_they_are_loaded(
    running: Instance, tmp_path: Path
) -> None:
    jobid = out(running, "submit", "sh", "-c", f"until test -e {tmp_path}/end; do sleep 0.1; done; echo over")
    out(running, "job", "wait-event", "--timeout=30s", jobid, "start")
    for name in ("job-manager", "resource"):
        out(running, "module", "remove", name)
        out(running, "module", "load", name)
    assert out(running, "run", "echo", "next") == "next"
    (tmp_path / "end").touch()
    assert out(running, "job", "attach", jobid) == "over"
    wait_for(lambda: out(running, "jobs", "-no", "{id}") == "", what="job-list knowing it")


def test_a_job_whose_shell_is_about_to_start_outlives_the_execution_service(running: Instance) -> None:
    with about_to_start(running) as jobid:
        out(running, "module", "reload", "job-exec")
    assert out(running, "job", "attach", jobid) == "once"
    log = [line.split()[1] for line in out(running, "job", "eventlog", jobid).splitlines()]
    assert log[-5:] == ["start", "finish", "release", "free", "clean"]


def test_jobs_that_end_without_a_job_manager_end_as_they_did_with_the_next_one(
    running: Instance, tmp_path: Path
) -> None:
    script = f"until test -e {tmp_path}/end; do sleep 0.1; done; echo over; exit 3"
    started = out(running, "submit", "--requires=rank:0", "sh", "-c", script)
    out(running, "job", "wait-event", "--timeout=30s", started, "start")
    with about_to_start(running) as asked:
        out(running, "module", "remove", "job-manager")
    (tmp_path / "end").touch()
    handle = running.handle()

    def nothing_runs() -> bool:
        stats = handle.rpc("job-exec.stats-get").get()
        return not stats["jobs"] and not stats["sealing"]

    wait_for(nothing_runs, what="the end of both jobs")
    out(running, "module", "load", "job-manager")
    for jobid, code, text in ((started, 3, "over\n"), (asked, 0, "once\n")):
        done = running.run("flux", "job", "attach", jobid)
        assert (done.returncode, done.stdout) == (code, text)
        assert "exception" not in out(running, "job", "eventlog", jobid)


def test_a_running_job_outlives_the_crash_of_the_execution_service(
    instance: Callable[..., Instance], tmp_path: Path
) -> None:
    here = instance(2)
    out(here, "module", "remove", "job-exec")
    out(here, "module", "load", "--exec", "job-exec")
    script = f"until test -e {tmp_path}/end; do sleep 0.1; done; echo over; exit 3"
    jobid = out(here, "submit", "-N2", "-n2", "sh", "-c", script)
    out(here, "job", "wait-event", "--timeout=30s", "-p", "exec", jobid, "shell.start")
    row = next(line for line in out(here, "module", "list").splitlines() if line.startswith("job-exec"))
    os.kill(int(row.split("pid ")[1].split()[0]), signal.SIGKILL)
    wait_for(lambda: "killed by signal 9" in out(here, "module", "list"), what="the crash noticed")
    waiting = out(here, "submit", "true")
    out(here, "module", "load", "job-exec")
    out(here, "job", "wait-event", "--timeout=30s", waiting, "clean")
    (tmp_path / "end").touch()
    done = here.run("flux", "job", "attach", jobid)
    assert (done.returncode, done.stdout) == (3, "over\nover\n")
    assert "exception" not in out(here, "job", "eventlog", jobid)


def test_the_end_of_the_instance_is_followed_when_kvs_watch_is_exchanged(running: Instance) -> None:
    out(running, "module", "reload", "kvs-watch")
    R = json.loads(out(running, "kvs", "get", "resource.R"))
    R["execution"]["expiration"] = time.time() + 86400
    out(running, "kvs", "put", f"resource.R={json.dumps(R)}")
    wait_for(lambda: "the instance's resources expire at" in out(running, "dmesg"), what="the new end noticed")
    assert "job-manager.err" not in out(running, "dmesg")


@pytest.mark.parametrize("name", ["local", "overlay", "state-machine", "groups", "config"])
def test_what_holds_the_instance_together_is_not_exchanged(running: Instance, name: str) -> None:
    result = running.run("flux", "module", "reload", name)
    assert result.returncode == 1
    assert result.stderr.startswith(f"flux-module: {name} cannot be exchanged while the broker runs")


def test_an_instance_ends_also_when_nothing_can_end_its_jobs(tmp_path: Path) -> None:
    with Instance() as here:
        jobid = out(here, "submit", "sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 1000")
        out(here, "job", "wait-event", "--timeout=30s", jobid, "start")
        wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), what="the task")
        out(here, "module", "remove", "job-exec")
        assert here.stop() == 0
    task = int((tmp_path / "pid").read_text())
    wait_for(lambda: not runs(task), what="the end of the task")
