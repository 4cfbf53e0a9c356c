"""Stock `flux exec` and `flux sproc` against our brokers, and ours against stock brokers: sites mix versions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Stock = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.interop
OURS = str(Path(sys.executable).with_name("flux"))

RUNS = [
    (["exec", "-l", "-r1", "echo", "hi"], "", 0, "1: hi\n"),
    (["exec", "-l", "cat"], "hello\n", 0, "0: hello\n1: hello\n"),
    (["exec", "-r1", "sh", "-c", "exit 3"], "", 3, ""),
    (["exec", "-r1", "sh", "-c", "kill -9 $$"], "", 137, ""),
    (["exec", "nosuchcommand"], "", 127, ""),
    (["exec", "/etc/passwd"], "", 126, ""),
    (["exec", "-n", "-r1", "seq", "-w", "300000"], "", 0, "".join(f"{n:06}\n" for n in range(1, 300001))),
    (["exec", "-r0", "wc", "-c"], "x" * 9_000_000, 0, "9000000\n"),
    (["sproc", "wait", "nosuch"], "", 1, ""),
]


@pytest.mark.parametrize(("words", "stdin", "code", "output"), RUNS, ids=range(len(RUNS)))
def test_stock_exec_here(stock: Stock, words: list[str], stdin: str, code: int, output: str) -> None:
    result = stock(*words, input=stdin)
    assert (result.returncode, "".join(sorted(result.stdout.splitlines(keepends=True)))) == (code, output)


def test_stock_sproc_and_attach_here(stock: Stock) -> None:
    stock("exec", "--bg", "--waitable", "-r1", "--label=bg", "sh", "-c", "echo out; exit 4")
    assert " bg " in stock("sproc", "ps", "-r1").stdout
    assert (attached := stock("exec", "--attach", "-r1", "bg", input="")).returncode == 4
    assert attached.stdout == "out\n"
    stock("exec", "--bg", "--waitable", "-r1", "--label=bg", "sleep", "1000")
    stock("sproc", "kill", "-r1", "15", "bg")
    assert stock("sproc", "wait", "-r1", "bg").returncode == 143


def test_stock_exec_at_the_places_of_a_job(stock: Stock) -> None:
    jobid = stock("submit", "-N2", "sleep", "1000").stdout.strip()
    stock("job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.start")
    result = stock("exec", "-l", "-j", jobid, "sh", "-c", "cat; exit 2", input="in\n")
    stock("cancel", jobid)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (2, ["0: in", "1: in"])


def test_our_exec_there(stock_flux: str) -> None:
    script = f"""
        set -x
        {OURS} exec -l -r1 echo hi
        seq 1000000 | {OURS} exec -l -r1 tail -1
        {OURS} exec -n -r1 seq 1000 | tail -1
        {OURS} exec -n sh -c 'exit 3'; echo $?
        {OURS} exec --bg --waitable -r1 --label=x sh -c 'exit 5' >/dev/null; {OURS} sproc wait -r1 x; echo $?
        """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLUX_", "PYTHON"))}
    env = {"SHLVL": "1", **env}
    result = subprocess.run(
        [stock_flux, "start", "-s2", "sh", "-c", script], env=env, capture_output=True, text=True, timeout=50
    )
    assert result.stdout.splitlines() == ["1: hi", "1: 1000000", "1000", "3", "5"], result.stderr
