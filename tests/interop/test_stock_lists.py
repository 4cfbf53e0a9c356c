"""Lists of jobs both ways: stock commands against our broker, and ours against a stock broker, give the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

pytestmark = pytest.mark.interop
OURS = str(Path(sys.executable).parent / "flux")

SUBMIT = """
flux=$1
failed=$($flux submit --job-name=bad sh -c 'exit 3')
$flux submit --urgency=0 --job-name=held --cc=0-1 true
$flux submit --begin-time=+1h --job-name=later true
canceled=$($flux submit --urgency=0 --job-name=gone true)
$flux cancel -m 'not needed' $canceled
$flux job list-ids --wait-state=inactive $failed $canceled
"""
LISTS = (
    ("jobs", "-a"),
    *(("jobs", "-a", "-o", name) for name in ("long", "cute", "deps", "endreason")),
    ("jobs", "-A", "--stats", "-fcanceled,failed", "--sort=-name,id", "-w", "60"),
    ("jobs", "-ao", "?:{queue:>4}|?+:{exception.type:>3}|+:{name:>2.2}|{t_run!d:%Y::>6h}|{returncode}|{nnodes:>3h}"),
    ("jobs", "-ai0", "--color=always", "--name=bad"),
    ("pgrep", "-ao", "full", "e|o"),
    ("pstree", "-a"),
    ("pstree", "-aX", "--ascii", "--detail-format={id.f58:>12} {status_abbrev:>2}", "--skip-root=no"),
    ("hostlist", "-c", "avail"),
)


def _both(run: Callable[..., subprocess.CompletedProcess[str]], stock: str) -> None:
    for words in LISTS:
        theirs, ours = run(stock, *words), run(OURS, *words)
        assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout), words
    records = [json.loads(run(flux, "jobs", "-a", "--json").stdout)["jobs"] for flux in (stock, OURS)]
    assert records[0] == records[1]


def test_stock_lists_against_our_broker(stock_flux: str, instance: Callable[..., Instance]) -> None:
    running = instance(size=1)
    running.run("sh", "-c", SUBMIT, "sh", OURS)
    env = {"PYTHONUTF8": "1", "LANG": "C.UTF-8"}
    _both(lambda *words: running.run(*words, env=env), stock_flux)


def test_our_lists_against_a_stock_broker(stock_flux: str, tmp_path: Path) -> None:
    test = f"from test_stock_lists import _both, run_here; _both(run_here, {stock_flux!r})"
    script = f'sh -c "$1" sh {stock_flux} && cd {Path(__file__).parent} && {sys.executable} -c "$2"'
    command = [stock_flux, "start", "sh", "-c", script, "sh", SUBMIT, test]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert found.returncode == 0, found.stderr


def run_here(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the enclosing instance."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60)
