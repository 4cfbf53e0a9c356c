"""Programs on terminals that outlive whoever looks at them: flux terminus (flux-terminus(1))."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_attach_terminal import Terminal

from flux.testing import Instance, runs, wait_for

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def terminus(run: Run) -> Iterator[Run]:
    yield lambda *args, **options: run("terminus", *args, **options)
    run("terminus", "kill-server")
    wait_for(lambda: "no server running" in run("terminus", "list").stderr)


def sessions(terminus: Run) -> list[str]:
    return [line.partition(" (created ")[0] for line in terminus("list").stdout.splitlines()[2:]]


def test_a_session_is_joined_left_and_joined_again(terminus: Run, running: Instance) -> None:
    script = "echo ready $FLUX_TERMINUS_SESSION; read line; echo got $line; read line; exit 3"
    first = Terminal(running.env, "terminus", "start", "-n", "mine", "sh", "-c", script)
    first.read_until("ready 0")
    first.type("text\n")
    first.read_until("got text")
    assert sessions(terminus) == ["0: [mine] 1 clients"]
    first.type("\x1d")
    first.read_until("[detached: Client requested detach]")
    assert first.close() == 0
    assert sessions(terminus) == ["0: [mine] 0 clients"]
    assert terminus("attach", "--pipe", "0", input="more\n").returncode == 0
    again = terminus("attach", "0", stdin=subprocess.DEVNULL)
    assert again.returncode in (1, 3)  # what was piped may have ended it already, and with it the server
    wait_for(lambda: "no server running" in terminus("list").stderr)


def test_what_has_ended_is_kept_until_someone_has_seen_it(terminus: Run, tmp_path: Path) -> None:
    assert terminus("start", "-d", "cat").returncode == 0
    script = "echo $WHAT; pwd; exit 5"
    started = terminus("start", "--detach", "sh", "-c", script, env={"WHAT": "that"}, cwd=str(tmp_path))
    assert started.returncode == 0, started.stderr
    wait_for(lambda: sessions(terminus) == ["0: [cat] 0 clients", "1: [sh] (exited) 0 clients"])
    seen = terminus("attach", "1", stdin=subprocess.DEVNULL)
    assert (seen.returncode, seen.stdout.split()) == (5, ["that", str(tmp_path)])
    wait_for(lambda: sessions(terminus) == ["0: [cat] 0 clients"])
    assert terminus("kill", "0").returncode == 0
    wait_for(lambda: "no server running" in terminus("list").stderr)


def test_what_cannot_be_is_told(terminus: Run) -> None:
    service = f"{os.getuid()}-terminus"
    assert terminus("list").stderr == f"flux-terminus: no server running at {service}\n"
    assert terminus("attach", "0").stderr == f"flux-terminus: Invalid session or server at {service}.0\n"
    assert "--rank option" in terminus("start", "-d", "-r", "1", "cat").stderr
    assert terminus("start", "-d", "cat").returncode == 0
    failed = terminus("start", "no-such-program")
    text = "flux-terminus: new session: failed to run no-such-program: No such file or directory\n"
    assert (failed.returncode, failed.stderr) == (1, text)
    assert terminus("kill", "17").stderr == "flux-terminus: kill failed: No such file or directory\n"
    assert terminus("list", "-r", "7").stderr.startswith("flux-terminus: list sessions failed: ")


def test_it_ends_with_its_broker(tmp_path: Path) -> None:
    with Instance() as instance:
        script = f"echo $$ $PPID >{tmp_path}/pids; exec sleep 1000"
        assert instance.run("flux", "terminus", "start", "-d", "sh", "-c", script).returncode == 0
        wait_for(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 2)
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    wait_for(lambda: not any(runs(pid) for pid in pids))
