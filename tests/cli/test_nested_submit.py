"""flux batch, alloc and bulksubmit in a running instance, as users see them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.timeout(300)  # instances in an instance, on a machine that may be busy

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2, timeout=120)


def test_batch_runs_a_script_in_an_instance_of_its_own(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n# flux: -N2\nflux getattr size; echo $1; flux run -n2 echo task; exit 3\n")
    output = tmp_path / "out-{{id}}"
    jobid = run("batch", f"--output={output}", str(script), "word").stdout.strip()
    assert run("job", "wait-event", jobid, "clean").returncode == 0
    assert (tmp_path / f"out-{jobid}").read_text().split() == ["2", "word", "task", "task"]
    assert run("job", "attach", jobid).returncode == 3


def test_batch_reads_stdin_and_wraps(run: Run) -> None:
    done = run("batch", "-n1", "--output=kvs", "--wrap", input="flux config get a.b\n")
    assert done.returncode == 0, done.stderr
    refused = run("batch", "-n1", input="echo hello\n")
    assert (refused.returncode, "'#!'" in refused.stderr) == (1, True)
    configured = run("batch", "-n1", "--output=kvs", "--conf=a.b=7", "--wrap", "flux config get a.b").stdout.strip()
    assert run("job", "attach", configured).stdout == "7\n"


def test_alloc_gives_the_exit_code_of_its_command(run: Run) -> None:
    done = run("alloc", "-n1", "sh", "-c", "flux getattr instance-level; exit 4")
    assert (done.stdout, done.returncode) == ("1\n", 4)


def test_alloc_in_the_background_is_ready_when_it_says_so(run: Run) -> None:
    done = run("alloc", "-v", "-n1", "--bg")
    assert done.returncode == 0, done.stderr
    jobid = done.stdout.strip()
    assert "ready" in done.stderr
    assert run("proxy", f"{jobid}?local", "flux", "run", "echo", "inside").stdout == "inside\n"
    assert run("shutdown", jobid).returncode == 0
    assert run("job", "wait-event", jobid, "clean").returncode == 0


def test_alloc_in_the_background_that_fails_says_why(run: Run) -> None:
    done = run("alloc", "-n1", "--bg", "--broker-opts=--nosuch")
    assert done.returncode == 1
    assert "--nosuch" in done.stdout + done.stderr  # of a terminal, which is one stream
    assert "unexpectedly exited" in done.stderr


def test_bulksubmit_submits_a_job_for_each_input(run: Run) -> None:
    done = run("bulksubmit", "--watch", "--quiet", "echo", "{}-{seq1}", ":::", "a", "b")
    assert (sorted(done.stdout.split()), done.returncode) == (["a-1", "b-2"], 0)
    done = run("bulksubmit", "--wait", "--quiet", "sh", "-c", "exit {}", ":::", "0", "5")
    assert done.returncode == 5


def test_files_of_a_job_are_found_in_its_directory(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("#!/bin/sh\necho from the file\n")
    done = run("run", f"--add-file=tool:755={tmp_path}/data", "{{tmpdir}}/tool")
    assert (done.stdout, done.stderr) == ("from the file\n", "")
    refused = run("run", f"--add-file=../x={tmp_path}/data", "true")
    assert (refused.returncode, "../x" in refused.stderr) == (1, True)


def test_wait_for_an_event_of_the_shell(run: Run) -> None:
    assert run("submit", "--wait-event=exec.shell.init", "true").returncode == 0
    never = run("submit", "--wait-event=nosuch", "true")
    assert (never.returncode, "without event 'nosuch'" in never.stderr) == (1, True)


def test_run_follows_events_up_to_the_one_named(run: Run) -> None:
    done = run("run", "-vv", "--wait-event=finish", "echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert ("job.finish" in done.stderr, "job.clean" in done.stderr) == (True, False)


def test_output_of_watched_jobs_goes_to_their_logs(run: Run, tmp_path: Path) -> None:
    logs = f"--log={tmp_path}/out{{cc}}", f"--log-stderr={tmp_path}/err"
    done = run("submit", "--cc=1-2", "--watch", "-l", *logs, "sh", "-c", "echo $FLUX_JOB_CC; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for number in "12":
        jobid, line = (tmp_path / f"out{number}").read_text().splitlines()
        assert line == f"{jobid}: 0: {number}"
    assert [line.split(": ", 1)[1] for line in (tmp_path / "err").read_text().splitlines()] == ["0: err"] * 2
