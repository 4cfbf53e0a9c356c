"""A job shell that is killed: its job ends with an exception, its tasks with it, and its nodes come back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.job import JobID
from flux.testing import Instance, runs, wait_for

SCRIPT = 'echo $$ $PPID > "$0.$FLUX_TASK_RANK.part"; mv "$0.$FLUX_TASK_RANK.part" "$0.$FLUX_TASK_RANK"; exec sleep 300'


def allocated(here: Instance) -> list[Any]:
    status = here.handle().rpc("sched.resource-status").get()
    ranks: list[Any] = status["allocated"]["execution"]["R_lite"]
    return ranks


@pytest.mark.parametrize("shell", [0, 1])
def test_a_killed_shell_ends_its_job_and_all_tasks(
    instance: Callable[..., Instance], tmp_path: Path, shell: int
) -> None:
    here = instance(2)
    submitted = here.run("flux", "submit", "-N2", "-n2", "sh", "-c", SCRIPT, str(tmp_path / "pids"))
    files = [tmp_path / "pids.0", tmp_path / "pids.1"]
    wait_for(lambda: all(file.exists() for file in files), what="tasks running")
    pids = [[int(word) for word in file.read_text().split()] for file in files]
    os.kill(pids[shell][1], signal.SIGKILL)
    jobid = JobID(submitted.stdout.strip())
    assert here.run("flux", "job", "wait-event", "-q", "-t", "60", str(jobid), "clean").returncode == 0
    request = {"id": int(jobid), "attrs": ["exception_type", "exception_note", "success"]}
    job = here.handle().rpc("job-list.list-id", request).get()["job"]
    assert (job["exception_type"], job["success"]) == ("exec", False)
    assert f"job shell on rank {shell} was killed by signal 9" in job["exception_note"]
    wait_for(lambda: not any(runs(task) for task, _shell in pids), what="no task left")
    assert allocated(here) == []
