"""`flux job` both ways: stock commands against our broker, and ours against a stock broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop
OURS = str(Path(sys.executable).parent / "flux")


def ok(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_stock_commands_against_our_broker(stock: Stock, tmp_path: Path) -> None:
    done = ok(stock("submit", "--wait", "-N2", "-n2", "seq", "20"))
    sleeper = ok(stock("submit", "--wait-event=start", "-t10m", "sleep", "600"))
    held = ok(stock("submit", "--urgency=hold", "true"))
    assert ok(stock("job", "last")) == held
    assert ok(stock("job", "taskmap", "--to=raw", done)) == "0;1"
    assert 300 < int(ok(stock("job", "timeleft", sleeper))) <= 600
    ok(stock("job", "memo", sleeper, "key=value"))
    assert json.loads(ok(stock("job", "list-ids", "-W", "running", sleeper)))["annotations"]["user"]["key"] == "value"
    assert json.loads(ok(stock("job", "stats")))["job_states"]["total"] == 3
    assert len(ok(stock("job", "attach", "--tail", done)).split()) == 10
    assert ok(stock("job", "purge", "--num-limit=0")) == "use --force to purge 1 of 1 inactive jobs"
    ok(stock("job", "raise", "-s5", "-t", "remark", sleeper, held, "just", "so"))
    ok(stock("cancel", sleeper))
    assert stock("job", "status", sleeper).returncode == 143
    (tmp_path / "jobspec.json").write_text(ok(stock("run", "--dry-run", "true")))
    assert ok(stock("job", "status", ok(stock("job", "submit", str(tmp_path / "jobspec.json"))))) == ""


def test_our_commands_against_a_stock_broker(stock_flux: str) -> None:
    script = f"""
    set -e
    done=$({OURS} submit --wait seq 20)
    sleeper=$({OURS} submit --wait-event=start -t10m sleep 600)
    {OURS} job last 2
    {OURS} job taskmap $done
    {OURS} job memo $sleeper key=value
    {OURS} job wait-event -q -p exec $sleeper shell.start
    {OURS} job hostpids $sleeper | tr : ' ' | wc -w
    {OURS} job attach --tail=2 $done
    {OURS} job kill $sleeper
    {OURS} job status $sleeper || echo $?
    {OURS} job purge --force --num-limit=0
    """
    result = subprocess.run([stock_flux, "start", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    lines = ok(result).splitlines()
    assert lines[2:] == ["[[0,1,1,1]]", "2", "19", "20", "143", "purged 2 inactive jobs, 0 remaining"]
