"""Shells are told of their job with their start; only those of a large job ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flux
from flux.job import JobspecV1, submit, wait
from flux.testing import Instance

LARGE = "x" * (1 << 17)
"""In a jobspec that is sent as base64."""


@pytest.fixture(scope="module")
def silent() -> Iterator[Instance]:
    """An instance in which nobody answers those who ask for a job."""
    with Instance(2) as instance:
        for rank in ("1", "0"):
            removed = instance.run("flux", "exec", "-r", rank, "flux", "module", "remove", "-f", "job-info")
            assert removed.returncode == 0, removed.stderr
        yield instance


def succeeds(instance: Instance, jobspec: JobspecV1) -> bool:
    with flux.Flux(instance.uri) as handle:
        return bool(wait(handle, submit(handle, jobspec, waitable=True)).success)


def test_shells_of_a_job_need_not_ask_for_it(silent: Instance, tmp_path: Path) -> None:
    script = f'printenv A >{tmp_path}/"$FLUX_TASK_RANK"'
    jobspec = JobspecV1.from_command(["sh", "-c", script], num_tasks=2, num_nodes=2)
    jobspec.environment = {"A": "of the job", "PATH": "/usr/bin:/bin"}
    assert succeeds(silent, jobspec)
    assert [(tmp_path / name).read_text() for name in "01"] == ["of the job\n"] * 2


@pytest.mark.parametrize("nodes", [1, 2])
def test_shells_of_a_large_job_ask(silent: Instance, nodes: int) -> None:
    jobspec = JobspecV1.from_command(["true"], num_tasks=nodes, num_nodes=nodes)
    jobspec.setattr("user.comment", LARGE)
    assert succeeds(silent, jobspec) == (nodes == 1)  # what is sent to one shell is small enough yet
