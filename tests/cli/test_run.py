"""`flux run` and `flux job attach` as users see them, in a running instance of four brokers (flux-run(1))."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=4)


def test_tasks_of_all_nodes_write_to_stdout(run: Run) -> None:
    done = run("run", "-N4", "-n8", "sh", "-c", "echo $FLUX_TASK_RANK")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split()) == [str(rank) for rank in range(8)]


def test_labels(run: Run) -> None:
    done = run("run", "-n2", "--label-io", "sh", "-c", "echo a; echo b >&2")
    assert sorted(done.stdout.splitlines()) == ["0: a", "1: a"]
    assert sorted(done.stderr.splitlines()) == ["0: b", "1: b"]


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [("exit 0", 0, ""), ("exit 3", 3, "exited with exit code 3"), ("kill -TERM $$", 143, "Terminated")],
)
def test_exit_code_is_that_of_the_job(run: Run, script: str, code: int, words: str) -> None:
    done = run("run", "sh", "-c", script)
    assert done.returncode == code
    assert words in done.stderr


def test_program_that_does_not_exist(run: Run) -> None:
    done = run("run", "nosuchprogram")
    assert done.returncode == 127
    assert "nosuchprogram" in done.stderr


def test_more_than_there_is_fails_at_once(run: Run) -> None:
    done = run("run", "-N5", "true")
    assert done.returncode == 1
    assert "type=alloc severity=0" in done.stderr
    assert "5" in done.stderr


def test_stdin_reaches_the_tasks(run: Run) -> None:
    text = "".join(f"line {i}\n" for i in range(5000))
    assert run("run", "cat", input=text).stdout == text


def test_stdin_from_a_file(running: Instance, tmp_path: Path) -> None:
    """A regular file cannot be polled; every byte has to arrive nevertheless."""
    file = tmp_path / "input"
    file.write_bytes(os.urandom(300_000))
    with file.open() as stdin:
        done = running.run("flux", "run", "cat", stdin=stdin, text=False)
    assert done.stdout == file.read_bytes()


def test_a_closed_stdin_is_an_empty_one(running: Instance) -> None:
    done = running.run("flux", "run", "-n2", "cat", preexec_fn=lambda: os.close(0))
    assert (done.returncode, done.stdout) == (0, "")


def test_stdin_of_some_ranks(run: Run) -> None:
    assert run("run", "-n2", "--input=1", "-l", "cat", input="x\n").stdout == "1: x\n"
    refused = run("run", "--input=3-1", "cat", input="")
    assert (refused.returncode, refused.stderr[:18]) == (1, "flux-run: --input:"), refused.stderr
    partly = run("run", "-n2", "--input=1,7", "-l", "cat", input="x\n")
    assert partly.stdout == "1: x\n"
    assert partly.stderr == "flux-job: warning: adjusting --stdin-ranks from 1,7 to 1\n"


def test_environment_rules_reach_the_task(run: Run) -> None:
    done = run("run", "--env-remove=*", "--env=PATH", "--env=FOO=bar", "sh", "-c", "echo $FOO:$HOME")
    assert done.stdout == "bar:\n"


def test_output_file(run: Run, tmp_path: Path) -> None:
    done = run("run", f"--output={tmp_path}/out", "echo", "hello")
    assert done.stdout == ""
    assert "redirected" in done.stderr
    assert (tmp_path / "out").read_text() == "hello\n"


def test_verbose_shows_events(run: Run) -> None:
    shown = run("run", "-vvv", "true").stderr
    assert shown.startswith("jobid: ")
    for event in ("job.submit", "job.start", "exec.shell.init", "exec.done", "job.clean"):
        assert f": {event}" in shown


def test_mini_spelling(run: Run) -> None:
    assert run("mini", "run", "echo", "hello").stdout == "hello\n"
    assert run("mini", "walk").returncode == 1


def test_errors_before_submission(run: Run) -> None:
    assert run("run").stderr.endswith("flux-run: job command and arguments are missing\n")
    assert run("run", "--urgency=99", "true").returncode == 1
    refused = run("run", "-S", "system.cwd=7", "true")
    assert refused.returncode == 1
    assert "cwd" in refused.stderr


def test_first_interrupt_warns_and_second_cancels(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    job = spawn("run", "sh", "-c", "echo up; exec sleep 60")
    assert job.stdout is not None and job.stderr is not None
    assert job.stdout.readline() == "up\n"
    job.send_signal(signal.SIGINT)
    said = job.stderr.readline()
    assert "one more ctrl-C" in said
    while "one more ctrl-C" in said:  # also after the second one, when it is late
        job.send_signal(signal.SIGINT)
        said = job.stderr.readline()
    assert "type=cancel severity=0 interrupted by ctrl-C" in said
    assert job.wait(30) == 143


def test_other_signals_go_to_the_job(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    job = spawn("run", "sh", "-c", "trap 'exit 7' USR1; echo up; sleep 60 & wait")
    assert job.stdout is not None
    assert job.stdout.readline() == "up\n"
    job.send_signal(signal.SIGUSR1)
    job.send_signal(signal.SIGTERM)  # ends what the shell left behind
    assert job.wait(30) in (7, 143)


def test_signal_cancels_a_job_that_does_not_run(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    job = spawn("run", "-v", "--urgency=hold", "true")
    assert job.stderr is not None
    assert job.stderr.readline().startswith("jobid: ")
    job.send_signal(signal.SIGTERM)
    assert "type=cancel" in job.stderr.readline()
    assert job.wait(30) == 1


def test_attach_to_a_job_that_is_over(run: Run) -> None:
    jobid = run("submit", "--wait", "sh", "-c", "echo out; echo err >&2; exit 5").stdout.strip()
    done = run("job", "attach", jobid)
    assert (done.returncode, done.stdout) == (5, "out\n")
    assert done.stderr.startswith("err\n")


def test_attach_to_no_job(run: Run) -> None:
    done = run("job", "attach", "f1234")
    assert (done.returncode, done.stderr) == (1, "flux-job: f1234: No such job\n")
