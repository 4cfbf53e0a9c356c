"""Fixtures of the tests of commands: `running`, an instance, and `run` and `spawn`, that call `flux` in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flux.testing import Instance


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    """An instance of two brokers; a file of tests that needs another one has its own `running`."""
    return instance(size=2)


@pytest.fixture
def run(running: Instance) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a flux command; options are those of `flux.testing.Instance.run`."""
    return lambda *args, **options: running.run("flux", *args, **options)


@pytest.fixture
def spawn(running: Instance) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a flux command that goes on; ended with the test. Options go to subprocess.Popen."""
    processes: list[subprocess.Popen[str]] = []

    def start(*args: str, **options: Any) -> subprocess.Popen[str]:
        ends = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        words = [running.command[0], *args]
        processes.append(subprocess.Popen(words, env=running.env, text=True, **{**ends, **options}))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def no_jobs_left(running: Instance) -> Iterator[None]:
    """Jobs that a test has left are cancelled, and have ended."""
    yield
    running.run("flux", "cancel", "--all", "--quiet")
    with running.handle() as handle:
        handle.rpc("job-manager.drain").get()
