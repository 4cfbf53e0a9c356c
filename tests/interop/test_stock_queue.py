"""Stock `flux queue`, `update`, `housekeeping`, `job` and `jobtap` against our job manager."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.interop

CONFIG = """
[queues.batch]
[queues.debug]
policy.limits.duration = "30m"
[queues.express]
parent = "batch"
"""
Stock = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def queued(flux_instance: Callable[..., Instance], tmp_path_factory: Any) -> Instance:
    file = tmp_path_factory.mktemp("queues") / "conf.toml"
    file.write_text(CONFIG)
    return flux_instance(1, args=[f"--config-path={file}"])


@pytest.fixture
def both(stock_flux: str, queued: Instance) -> Callable[..., str]:
    """Run a command as stock and as ours; both have to print the same."""

    def run(*words: str) -> str:
        theirs, ours = queued.run(stock_flux, *words), queued.run("flux", *words)
        assert (theirs.returncode, theirs.stdout) == (ours.returncode, ours.stdout), theirs.stderr + ours.stderr
        assert theirs.stderr.replace("ERROR: ", "") == ours.stderr
        return ours.stdout + ours.stderr

    return run


def held(queued: Instance) -> str:
    submitted = queued.run("flux", "submit", "-qbatch", "-t10m", "--urgency=0", "true")
    assert submitted.returncode == 0, submitted.stderr
    return submitted.stdout.strip()


def test_queues_are_shown_alike(both: Callable[..., str]) -> None:
    for words in ("start --all", "stop -m why batch", "disable debug", "status express", "list -n", "list -no {queue}"):
        assert both("queue", *words.split())
    assert "express: Scheduling is stopped: parent queue 'batch' is stopped" in both("queue", "status", "express")
    assert "'nope' is not a valid queue" in both("queue", "start", "nope")
    assert "Named queues are defined" in both("queue", "start")
    both("queue", "enable", "--all", "--quiet")
    both("queue", "start", "--all", "--quiet")


def test_updates_are_made_and_refused_alike(both: Callable[..., str], queued: Instance) -> None:
    jobid = held(queued)
    assert '{"attributes.system.duration": 660.0}' in both("update", "-n", jobid, "duration=+1m")
    assert "INFO: updated attributes.system.duration to 900.0" in both("update", "-v", jobid, "duration=15m")
    assert "exceeds policy limit of 30m for queue debug" not in both("update", jobid, "duration=20h")
    assert "exceeds policy limit of 30m for queue debug" in both("update", jobid, "queue=debug")
    assert "update of attributes.foo not supported" in both("update", jobid, "attributes.foo=1")
    assert "unknown job id" in both("update", "f1", "duration=1m")
    queued.run("flux", "cancel", jobid)


def test_housekeeping_is_asked_alike(both: Callable[..., str]) -> None:
    assert "#ACTIVE" in both("housekeeping", "list")
    assert both("housekeeping", "kill", "--all") == ""
    assert "specify at least one of" in both("housekeeping", "kill")
