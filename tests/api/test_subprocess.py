"""Background processes on brokers (flux.subprocess)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from flux import subprocess
from flux.testing import Instance


@pytest.fixture
def handle(instance: Callable[..., Instance]) -> Any:
    return instance(size=2).handle()


def test_a_process_is_started_listed_and_awaited(handle: Any) -> None:
    script = "echo out; echo err >&2; exit 3"
    started = subprocess.rexec_bg(handle, ["sh", "-c", script], label="mine", waitable=True, nodeid=1)
    pid, rank = started.get_pid(), started.get_rank()
    assert rank == 1
    assert (pid, "mine") in [(p.pid, p.label) for p in subprocess.list(handle, nodeid=1).get_processes() if p.rank == 1]
    ended = subprocess.wait(handle, label="mine", nodeid=1)
    assert os.waitstatus_to_exitcode(ended.get_status()) == 3
    assert (ended.stdout, ended.stderr) == (b"out\n", b"err\n")


def test_a_process_is_signalled(handle: Any) -> None:
    started = subprocess.rexec_bg(handle, ["sleep", "300"], waitable=True)
    assert started.get_rank() == 0
    subprocess.kill(handle, signal.SIGKILL, pid=started.get_pid()).get()
    assert os.WTERMSIG(subprocess.wait(handle, pid=started.get_pid()).get_status()) == signal.SIGKILL
    with pytest.raises(ValueError, match="either"):
        subprocess.kill(handle, pid=1, label="x")
    with pytest.raises(ProcessLookupError):
        subprocess.kill(handle, label="nobody").get()


def test_a_command_as_an_object() -> None:
    command = subprocess.command_create(["true"], label="x", cwd="/", env={"A": "1"}, opts={"K": "v"})
    assert {key: command[key] for key in ("cmdline", "label", "cwd", "env", "opts")} == {
        "cmdline": ["true"],
        "label": "x",
        "cwd": "/",
        "env": {"A": "1"},
        "opts": {"K": "v"},
    }
