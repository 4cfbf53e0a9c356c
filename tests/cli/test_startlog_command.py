"""flux startlog, flux config builtin and flux --root as their users see them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.eventlog import Event
from flux.testing import Instance
from flux_cli.cmd.startlog import read_runs


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        ("", []),
        ("start", [False]),
        ("start finish", [True]),
        ("start start", [False, False]),
        ("start finish finish start", [True, False]),
        ("finish", []),
    ],
)
def test_runs(names: str, runs: list[bool]) -> None:
    events = [Event(1.0 + i, name) for i, name in enumerate(names.split())]
    assert [finish is not None for _start, finish in read_runs(events)] == runs


def test_finished_and_crashed_runs_are_told(tmp_path: Path) -> None:
    state = {"statedir": str(tmp_path / "state")}
    os.mkdir(state["statedir"])
    with Instance(attrs=state):
        pass
    with Instance(attrs=state) as instance:
        listed = instance.run("flux", "startlog", "-v").stdout.splitlines()
        assert len(listed) == 2
        assert listed[0].lstrip().startswith("0.88") and listed[0].endswith("s)")
        assert "running (" in listed[1]
        assert instance.run("flux", "startlog", "--check", "--quiet").returncode == 0
        event = Event(1e9, "start").encode()
        appended = instance.run("flux", "kvs", "put", "--append", "--raw", f"admin.eventlog={event}")
        assert appended.returncode == 0, appended.stderr
        crashed = instance.run("flux", "startlog", "--check")
        assert crashed.returncode == 1
        assert crashed.stdout.splitlines()[1].endswith("crashed")


def test_builtin_values(instance: Callable[..., Instance]) -> None:
    python_path = instance().run("flux", "config", "builtin", "python_path").stdout.strip()
    assert os.path.isdir(os.path.join(python_path, "flux"))
    shell = instance().run("flux", "config", "builtin", "shell_path").stdout.strip()
    assert os.access(shell, os.X_OK)
    wrong = instance().run("flux", "config", "builtin", "nokey")
    assert wrong.returncode == 1
    assert "nokey is invalid" in wrong.stderr


@pytest.mark.parametrize("option", ["--root", "-r", "--parent", "-pp"])
def test_an_instance_that_is_no_job_is_its_own_parent(option: str, instance: Callable[..., Instance]) -> None:
    result = instance().run("flux", option, "getattr", "size")
    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr
