"""The stock job shell under our broker: a site's shell plugins are built for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.interop


@pytest.fixture
def lua_paths(stock_flux: str) -> dict[str, str]:
    """Where the stock shell's initrc finds its Lua modules."""
    script = 'printf "%s\\n%s" "$LUA_PATH" "$LUA_CPATH"'
    printed = subprocess.run([stock_flux, "env", "sh", "-c", script], capture_output=True, text=True, check=True)
    return dict(zip(("LUA_PATH", "LUA_CPATH"), printed.stdout.split("\n"), strict=True))


@pytest.fixture
def running(instance: Callable[..., Instance], stock_flux: str, lua_paths: dict[str, str], tmp_path: Path) -> Instance:
    shell = Path(stock_flux).parents[1] / "libexec/flux/flux-shell"
    if not shell.exists():
        pytest.skip(f"there is no stock job shell at {shell}")
    (tmp_path / "exec.toml").write_text(f'[exec]\njob-shell = "{shell}"\n')
    return instance(size=2, attrs={"jobid-path": "/"}, args=[f"--config-path={tmp_path}"], env=lua_paths)


def test_stock_shell_runs_jobs(running: Instance) -> None:
    script = (
        "echo $FLUX_TASK_RANK of $FLUX_JOB_SIZE on $FLUX_JOB_NNODES; grep -q flux-shell /proc/$PPID/comm && echo stock"
    )
    result = running.run("flux", "run", "-N2", "-n2", "sh", "-c", script)
    assert sorted(result.stdout.splitlines()) == ["0 of 2 on 2", "1 of 2 on 2", "stock", "stock"], result.stderr
    assert running.run("flux", "run", "cat", input="fed").stdout == "fed"
    assert running.run("flux", "run", "sh", "-c", "exit 3").returncode == 3


def test_its_tasks_are_bound_to_cores_of_the_topology(running: Instance) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    words = ["-n1", "-c1", "-o", "cpu-affinity=per-task", "sh", "-c", "grep Cpus_allowed_list /proc/self/status"]
    result = running.run("flux", "run", *words)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()[1]) == 1
