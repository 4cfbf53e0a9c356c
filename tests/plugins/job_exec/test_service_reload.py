"""Services are exchanged in a running instance: jobs that run go on, and others can be run at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance(size=2) as instance:
        yield instance


def out(running: Instance, *command: str) -> str:
    return running.run("flux", *command, check=True).stdout.strip()


def test_a_running_job_outlives_the_job_manager_and_the_scheduler(running: Instance, tmp_path: Path) -> None:
    script = f"until test -e {tmp_path}/end; do sleep 0.1; done; echo over"
    jobid = out(running, "submit", "-N2", "-n2", "sh", "-c", script)
    out(running, "job", "wait-event", "--timeout=30s", jobid, "start")
    for name in ("job-manager", "job-list", "resource", "sched-simple", "job-manager"):
        out(running, "module", "reload", name)
    assert out(running, "run", "-n1", "echo", "next") == "next"
    (tmp_path / "end").touch()
    assert out(running, "job", "attach", jobid) == "over\nover"
    log = [line.split()[1] for line in out(running, "job", "eventlog", jobid).splitlines()]
    assert log.count("start") == log.count("finish") == log.count("free") == 1
    assert "exception" not in log
    assert out(running, "jobs", "-a", "-n", "-o", "{id} {status}").count("COMPLETED") == 2


@pytest.mark.parametrize("name", ["local", "overlay", "state-machine", "groups", "config"])
def test_what_holds_the_instance_together_is_not_exchanged(running: Instance, name: str) -> None:
    result = running.run("flux", "module", "reload", name)
    assert result.returncode == 1
    assert result.stderr.startswith(f"flux-module: {name} cannot be exchanged while the broker runs")
