"""`flux exec --jobid`: look after a running job at the places where it runs (flux-exec(1))."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux.testing import Instance, runs, wait_for

RunFlux = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=3)


@pytest.fixture
def job(running: Instance) -> Iterator[str]:
    """A job that sleeps on two nodes, as soon as its shells answer."""
    jobid = running.run("flux", "submit", "-N2", "sleep", "1000").stdout.strip()
    running.run("flux", "job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.start")
    yield jobid
    running.run("flux", "cancel", jobid)
    running.run("flux", "job", "wait-event", jobid, "clean")


def test_it_runs_at_the_places_of_the_job(running: Instance, job: str) -> None:
    result = running.run("flux", "exec", "-l", "-j", job, "sh", "-c", "cat; exit 3", input="in\n")
    assert (result.returncode, sorted(result.stdout.splitlines())) == (3, ["0: in", "1: in"])
    one = running.run("flux", "exec", "-l", "-j", job, "-r1", "-x0", "wc", "-c", input="x" * 9_000_000)
    assert one.stdout == "1: 9000000\n"
    beyond = running.run("flux", "exec", "-j", job, "-r2", "true", input="")
    assert (beyond.returncode, "there is no rank 2: job" in beyond.stderr) == (68, True)


def test_processes_end_with_their_job_and_are_kept_apart(running: Instance, job: str) -> None:
    started = running.run("flux", "exec", "-j", job, "--bg", "--label=aside", "-r0", "sleep", "1000")
    pid = int(started.stdout.split()[1])
    service = (
        f"--service={os.getuid()}-shell-{running.run('flux', 'job', 'id', '--to=f58plain', job).stdout.strip()}.rexec"
    )
    assert running.run("flux", "sproc", "ps", service, "-r0", "-n", "-o", "{pid} {label}").stdout == f"{pid} aside\n"
    foreign = running.run("flux", "sproc", "kill", service, "-r0", "9", "1")
    assert (foreign.returncode, "does not belong" in foreign.stderr) == (1, True)
    assert running.run("flux", "cancel", job).returncode == 0
    wait_for(lambda: not runs(pid), what="the end of the process")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-j", "ƒ2oLkTLb", "true"], "No such job"),
        (["-j", "x y", "true"], "x y"),
        (["--with-imp", "true"], "flux-imp"),
        (["-j1", "--attach", "7"], "--attach does not work with --jobid"),
    ],
)
def test_wrong_requests(running: Instance, words: list[str], text: str) -> None:
    result = running.run("flux", "exec", *words, input="")
    assert (result.returncode, text in result.stderr) == (1, True), result.stderr


@pytest.mark.parametrize(
    ("trap", "timeout", "code", "told"), [("echo told; exit 7", "60s", 7, "told\n"), ("", "0.2s", 137, "")]
)
def test_processes_have_some_time_after_the_tasks(
    running: Instance, tmp_path: Path, trap: str, timeout: str, code: int, told: str
) -> None:
    wait = f"until test -e {tmp_path}/up; do sleep 0.1; done"
    options = ("-o", f"rexec-shutdown-timeout={timeout}", "-o", "rexec=1")
    jobid = running.run("flux", "submit", *options, "sh", "-c", wait).stdout.strip()
    running.run("flux", "job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.start")
    script = f"trap '{trap}' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"
    result = running.run("flux", "exec", "-j", jobid, "sh", "-c", script, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (code, told), result.stderr
    assert running.run("flux", "job", "status", jobid).returncode == 0
