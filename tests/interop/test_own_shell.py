"""Our job shell under a stock broker: `exec.job-shell` names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

SHELL = Path(sys.executable).with_name("flux-shell")
SCRIPT = """
flux run -N2 --tasks-per-node=1 sh -c 'echo $FLUX_TASK_RANK of $PMI_SIZE'
echo fed | flux run cat
flux run sh -c 'echo failed >&2; exit 3'
"""


def test_our_shell_runs_jobs_of_a_stock_instance(stock_flux: str, tmp_path: Path) -> None:
    (tmp_path / "exec.toml").write_text(f'[exec]\njob-shell = "{SHELL}"\n')
    start = [stock_flux, "start", "-s2", f"-o,--config-path={tmp_path}", "sh", "-c", SCRIPT]
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLUX_")}
    result = subprocess.run(start, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=55, env=env)
    assert result.returncode == 3, result.stderr
    assert sorted(result.stdout.splitlines()) == ["0 of 2", "1 of 2", "fed"]
    assert "failed" in result.stderr
