"""What commands do when they are interrupted, nobody reads their output any more, or its disk is full."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]
Spawn = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.usefixtures("no_jobs_left")


def test_a_job_is_followed_to_its_end_when_nobody_reads_its_output(spawn: Spawn) -> None:
    process = spawn("run", "sh", "-c", "seq 100000; exit 3", pipesize=4096)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "1\n"
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (3, "flux-job: task(s) exited with exit code 3\n")


@pytest.mark.parametrize("exit_code", [0, 3])
def test_a_job_is_followed_to_its_end_when_the_disk_is_full(run: Run, exit_code: int) -> None:
    with open("/dev/full", "w") as full:
        words = ["run", "sh", "-c", f"echo out; exit {exit_code}"]
        done = run(*words, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == (exit_code or 1)
    assert "flux-job: stdout: No space left on device: further output is not shown\n" in done.stderr
    assert f"status={exit_code << 8}" in run("job", "eventlog", run("job", "last").stdout.strip()).stdout


def test_a_job_needs_nobody_to_talk_to(running: Instance) -> None:
    shell = f"{running.command[0]} run sh -c 'cat; exit 3' <&- >&- 2>&-"
    assert running.run("sh", "-c", shell).returncode == 3


def test_who_only_watches_leaves_jobs_alone(run: Run, spawn: Spawn) -> None:
    jobids = run("submit", "--cc=1-2", "--wait-event=start", "sh", "-c", "echo out; sleep 600").stdout.split()
    process = spawn("watch", "--label-io", *jobids)
    assert process.stdout is not None
    assert {process.stdout.readline().split(":")[0] for _ in jobids} == set(jobids)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (-signal.SIGINT, "")
    assert run("jobs", "-no", "{state}", *jobids).stdout.split() == ["RUN", "RUN"]


@pytest.mark.parametrize(
    "words",
    [
        ("submit", "--wait", "sleep", "600"),
        ("submit", "--watch", "sleep", "600"),
        ("bulksubmit", "--wait", "sleep", "{}", ":::", "600", "600"),
    ],
)
def test_who_waits_for_jobs_ends_by_the_interrupt(spawn: Spawn, words: tuple[str, ...]) -> None:
    process = spawn(*words)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ƒ")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (-signal.SIGINT, "")
