"""`flux exec` and `flux sproc` as administrators use them (flux-exec(1))."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=3)


def test_every_rank_runs_it_and_lines_can_be_told_apart(run: Run) -> None:
    result = run("exec", "-l", "sh", "-c", "echo out; echo err >&2")
    assert sorted(result.stdout.splitlines()) == ["0: out", "1: out", "2: out"]
    assert sorted(result.stderr.splitlines()) == ["0: err", "1: err", "2: err"]
    assert result.returncode == 0


def test_ranks_can_be_chosen_and_left_out(run: Run) -> None:
    assert run("exec", "-l", "-r", "1-2", "-x", "1", "pwd").stdout == f"2: {os.getcwd()}\n"
    assert run("exec", "-r1", "-d", "/", "pwd").stdout == "/\n"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["sh", "-c", "exit 3"], 3, "[0-2]: Exit 3"),
        (["sh", "-c", "kill -9 $$"], 137, "[0-2]: Killed"),
        (["-r2", "sh", "-c", "exit 7"], 7, "2: Exit 7"),
        (["-q", "sh", "-c", "exit 4"], 4, ""),
        (["nosuchcommand"], 127, "rank 1: nosuchcommand: error launching process: No such file"),
        (["/etc/passwd"], 126, "rank 0: /etc/passwd: error launching process: Permission denied"),
        (["-d", "/no/such", "false"], 1, "cannot change to directory /no/such: No such file"),
        (["-j", "f1", "true"], 1, "f1: No such job"),
        (["-r", "0,7", "true"], 68, "there is no rank 7"),
        (["-r", "x", "true"], 1, "--rank"),
        (["-x", "0-2", "true"], 1, "no rank is left"),
        (["--waitable", "true"], 1, "--bg"),
        (["--service=nosuch", "true"], 1, "No service matching nosuch.exec"),
        ([], 1, "which command?"),
    ],
)
def test_exit_codes(run: Run, words: list[str], code: int, text: str) -> None:
    result = run("exec", *words)
    assert (result.returncode, text in result.stderr) == (code, True), result.stderr
    assert text or not result.stderr


def test_largest_exit_code_wins(run: Run) -> None:
    script = "exit $(flux getattr rank)"
    result = run("exec", "sh", "-c", script, env={"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"})
    assert result.returncode == 2
    assert sorted(result.stderr.splitlines()) == ["1: Exit 1", "2: Exit 2"]


def test_stdin_goes_to_all_or_none(run: Run, tmp_path: Path) -> None:
    text = "line\n" * 200_000
    (tmp_path / "input").write_text(text)
    assert run("exec", "wc", "-c", input=text).stdout.split() == ["1000000"] * 3
    with open(tmp_path / "input") as source:
        assert run("exec", "wc", "-c", stdin=source).stdout.split() == ["1000000"] * 3
    assert run("exec", "-n", "wc", "-c", input=text).stdout.split() == ["0"] * 3


def test_a_process_that_reads_nothing_does_not_keep_the_others_waiting(run: Run) -> None:
    script = "flux getattr rank | grep -q 1 || exec wc -c"
    env = {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    result = run("exec", "sh", "-c", script, input="x" * 12_000_000, env=env)
    assert (result.returncode, result.stdout.split()) == (0, ["12000000"] * 2)


def test_verbose_tells_what_happens(run: Run) -> None:
    lines = run("exec", "-v", "true").stderr.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "Starting true on [0-2]",
        "Sent all requests",
        "3 tasks complete with code 0",
    ]


def test_interrupt_is_passed_on(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("exec", "-r0-1", "sh", "-c", "trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate()
    assert (process.returncode, "sending SIGINT to 2 processes" in err) == (5, True)


def test_second_interrupt_leaves_at_once_and_nothing_behind(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("exec", "-r1", "sh", "-c", "trap '' INT; echo $$; while :; do sleep 0.01; done")
    assert process.stdout is not None and process.stderr is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert "sending SIGINT" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the process")


def test_output_that_nobody_reads_ends_the_command(spawn: Callable[..., subprocess.Popen[str]]) -> None:
    process = spawn("exec", "yes")
    assert process.stdout is not None
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    assert process.wait() == 141


def test_background_processes_are_listed_waited_for_and_signalled(run: Run) -> None:
    started = run("exec", "--bg", "--waitable", "-r1", "--label=job", "sh", "-c", "echo kept; exit 6")
    rank, pid = started.stdout.strip().split(": ")
    assert rank == "1"
    header, *lines = run("sproc", "ps", "-r1").stdout.splitlines()
    assert header.split() == ["PID", "ST", "LABEL", "COMMAND"]
    assert [pid, "job", "sh"] in [[word for word in line.split() if len(word) > 1] for line in lines]
    waited = run("sproc", "wait", "-o", "-r1", "job")
    assert (waited.returncode, waited.stdout) == (6, "kept\n")
    gone = run("sproc", "wait", "-r1", "job")
    assert (gone.returncode, "label job does not belong" in gone.stderr) == (1, True)
    run("exec", "--bg", "--waitable", "-r1", "--label=job", "sleep", "1000")
    assert run("sproc", "kill", "--wait", "-r1", "TERM", "job").returncode == 143


def test_attach_follows_a_background_process_to_its_end(run: Run) -> None:
    for words in (["exec", "--attach", "-r2"], ["sproc", "attach", "-r2"]):
        run("exec", "--bg", "--waitable", "-r2", "--label=bg", "sh", "-c", "echo one; exit 2")
        attached = run(*words, "bg")
        assert (attached.returncode, attached.stdout) == (2, "one\n")
    assert "does not belong" in run("exec", "--attach", "-r2", "nosuch").stderr


def test_ps_takes_a_format_of_its_own(run: Run) -> None:
    assert run("sproc", "ps", "-r1", "-n", "-o", "{rank}").stdout.split() == []
    run("exec", "--bg", "-r1", "--label=mine", "sleep", "1000")
    assert run("sproc", "ps", "-r1", "-o", "{rank} {label} {cmd}").stdout == "RANK LABEL COMMAND\n1 mine sleep\n"
    assert "there is no field" in run("sproc", "ps", "-r1", "-o", "{nonsense}").stderr
    assert '"rank": 1' in run("sproc", "ps", "-r1", "--json").stdout
    assert run("sproc", "kill", "-r1", "9", "mine").returncode == 0
    assert "no signal" in run("sproc", "kill", "-r1", "NOSUCH", "mine").stderr
