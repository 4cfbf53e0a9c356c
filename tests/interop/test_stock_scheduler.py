"""A stock scheduler, run by the stock loader as a process of its own, takes the place of ours, and gives it back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from flux.cores import cores_of
from flux.testing import Instance

pytestmark = pytest.mark.interop
CORES = cores_of(os.sched_getaffinity(0)).count()


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2)


def flux(running: Instance, *words: str) -> str:
    result = running.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", ["sched-fifo", "sched-backfill"])
def test_stock_scheduler(stock_flux: str, running: Instance, name: str) -> None:
    where = [stock_flux, "config", "builtin", "module_path"]
    folder = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip().split(":")[0]
    if not os.path.exists(f"{folder}/{name}.py"):
        pytest.skip(f"this stock flux-core has no {name}")
    stays = flux(running, "submit", "--setattr=system.exec.test.run_duration=1h", f"-n{CORES}", "true")
    flux(running, "job", "wait-event", stays, "start")
    flux(running, "module", "remove", "sched-simple")
    flux(running, "module", "load", f"--command={stock_flux} module-python-exec {folder}/{name}.py", name)
    test = "--setattr=system.exec.test.run_duration=0.01"
    ids = flux(running, "submit", "--cc=1-10", "-t1m", test, "-n1", "true").split()
    waits = flux(running, "submit", "-t1m", test, f"-n{2 * CORES}", "true")
    for jobid in ids:
        flux(running, "job", "wait-event", jobid, "clean")
    assert flux(running, "jobs", "-no", "{annotations.sched.resource_summary}", ids[0]).startswith("rank1/core")
    flux(running, "module", "remove", name)
    flux(running, "module", "load", "sched-simple")
    assert [flux(running, "jobs", "-no", "{state}", jobid) for jobid in (stays, waits)] == ["RUN", "SCHED"]
    flux(running, "cancel", stays)
    flux(running, "job", "wait-event", waits, "clean")
    assert flux(running, "jobs", "-ano", "{result}", *ids, waits).split() == ["COMPLETED"] * 11
