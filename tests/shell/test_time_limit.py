"""--signal: jobs are warned before their time limit, also after it was changed (flux-submit(1), flux-update(1))."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from flux.testing import Instance

KILLED = 128 + signal.SIGUSR1


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance() as instance:
        yield instance


def flux(running: Instance, *args: str) -> subprocess.CompletedProcess[str]:
    return running.run("flux", *args, stdin=subprocess.DEVNULL, timeout=50)


def test_a_signal_some_time_before_the_limit(running: Instance) -> None:
    result = flux(running, "run", "--signal=USR1@9999s", "-t", "10000s", "sleep", "600")
    assert result.returncode == KILLED
    assert "sending SIGUSR1 to job" in result.stderr


def test_a_limit_that_comes_nearer_brings_the_signal_on(running: Instance) -> None:
    jobid = flux(running, "submit", "--signal=USR1@600s", "-t", "10000s", "sleep", "600").stdout.strip()
    flux(running, "job", "wait-event", "-t", "45", "-p", "exec", jobid, "shell.start").check_returncode()
    assert flux(running, "update", jobid, "duration=601s").returncode == 0
    result = flux(running, "job", "attach", jobid)
    assert result.returncode == KILLED
    assert "sending SIGUSR1 to job" in result.stderr


def test_a_job_without_a_limit_is_told_that_none_will_come(running: Instance) -> None:
    result = flux(running, "run", "-o", "signal", "true")
    assert result.returncode == 0
    assert "no expiration, SIGUSR1 will not be sent" in result.stderr
