"""`flux cron` in a running instance of two brokers: commands run, and say in the table and the log how it went."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance, wait_for

Cron = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2, attrs={"log-stderr-level": "0"})


@pytest.fixture
def cron(running: Instance) -> Cron:
    """Run `flux cron` without a synchronizing event."""

    def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return running.run("flux", "cron", *words, **options)

    assert run("sync", "--disable").returncode == 0
    return run


def created(result: subprocess.CompletedProcess[str]) -> str:
    assert "created" in result.stdout, result.stderr
    return result.stdout.partition("cron-")[2].split()[0].rstrip(":")


def entry(cron: Cron, id: str) -> Any:
    return json.loads(cron("dump", "--json", id).stdout)[0]


def finished(cron: Cron, id: str) -> Any:
    """The entry once a task of it is over."""

    def look() -> Any:
        found = entry(cron, id)
        return found if found["stats"]["success"] + found["stats"]["failure"] else None

    return wait_for(look, what="the end of a task")


def test_interval_runs_where_and_how_it_was_told(cron: Cron, running: Instance, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = f"pwd > {out}; echo $MARK >> {out}; flux getattr rank >> {out}; echo noted; echo bad >&2"
    env = {"MARK": "mark"}
    result = cron("interval", "-n", "it", "-c1", "-E", "-d", str(tmp_path), "-o", "rank=1", "0.05s", line, env=env)
    id = created(result)
    found = finished(cron, id)
    assert out.read_text() == f"{tmp_path}\nmark\n1\n"
    assert (found["name"], found["stopped"], found["stats"]["count"]) == ("it", True, 1)
    assert [task["state"] for task in found["tasks"]] == ["Exited"]
    log = running.run("flux", "dmesg").stdout
    assert f'cron.info[0]: cron-{id}[it]: rank=1: "noted"' in log
    assert f'cron.err[0]: cron-{id}[it]: rank=1: "bad"' in log


def test_events(cron: Cron, running: Instance) -> None:
    id = created(cron("event", "--nth=2", "-N", "second", "cron.test", "true"))
    handle = running.handle(1)
    for _ in range(3):
        handle.event_publish("cron.test")
    assert finished(cron, id)["stats"]["total"] == 1
    counted = lambda: cron("dump", "--key=typedata.counter", id).stdout == "3\n"  # noqa: E731
    wait_for(counted, what="the third event counted")
    assert cron("delete", id).stdout == f"Removed cron-{id}: second\n"
    assert cron("dump", id).returncode == 1


@pytest.mark.parametrize(
    ("options", "line", "state", "status"),
    [
        ("stop-on-failure=1", "exit 3", "Failed", "Failed:rc=3"),
        ("timeout=0.05,stop-on-failure=1", "sleep 60", "Timeout", "Timeout"),
        ("rank=7,stop-on-failure=1", "true", "Rexec Failure", "Rexec Failure"),
        ("stop-on-failure=1", "nosuchcommand", "Failed", "Exec-Error"),
    ],
)
def test_failures_stop(cron: Cron, options: str, line: str, state: str, status: str) -> None:
    id = created(cron("interval", "-o", options, "-a", "0.01", "0.1", line))
    found = finished(cron, id)
    assert (found["stopped"], found["tasks"][0]["state"]) == (True, state)
    (row,) = (row for row in cron("list").stdout.splitlines() if row.split()[0] == id)
    assert status in row and "Stopped" in row
    assert cron("start", id).stdout == f"Started cron-{id}\n"
    cron("delete", "--kill", id)


def test_tab_and_at(cron: Cron) -> None:
    text = "# comment\n\n0 8 * * Mon backup a b\n@hourly other\n0 0 1 11 * december\n"
    lines = cron("tab", input=text).stdout.splitlines()
    assert " Mon " in lines[0] and " 08:00:00 " in lines[0]
    assert ":00:00 " in lines[1]
    assert " Dec  1 00:00:00 " in lines[2]
    wrong = cron("tab", input="* * *\n")
    assert (wrong.returncode, "line 1" in wrong.stderr) == (1, True)
    assert cron("tab", input="99 * * * * x\n").returncode == 1
    assert "scheduled in" in cron("at", "+1h", "true").stdout
    assert "Jan 31 12:00:00 2099" in cron("at", "2099-01-31 12:00", "true").stdout
    assert "past" in cron("at", "2020-01-01", "true").stderr
    assert "no date" in cron("at", "someday", "true").stderr


def test_tasks_wait_for_the_synchronizing_event(cron: Cron, running: Instance) -> None:
    assert cron("sync", "-e", "0", "cron.go").stdout == 'sync: sync to event "cron.go" epsilon=0.000s.\n'
    id = created(cron("interval", "-c1", "0.01s", "true"))
    waits = wait_for(lambda: [task for task in entry(cron, id)["tasks"] if task["state"] == "Deferred"])
    assert waits[0]["pid"] == 0
    running.handle().event_publish("cron.go")
    assert finished(cron, id)["stats"]["deferred"] == 1
    assert cron("sync", "--disable").stdout == "sync: sync disabled.\n"


def test_errors(cron: Cron) -> None:
    for words, text in (
        (("stop", "999"), "no cron entry 999"),
        (("start", "x"), "'x' is no entry's number"),
        (("interval", "soon", "true"), "'soon' is no duration"),
        (("interval", "1s"), "COMMAND is needed"),
        (("interval", "-o", "color=1", "1s", "true"), "'color=1'"),
        (("dump", "999"), "cron-999"),
        (("dump", "--key=nokey", created(cron("interval", "1h", "true"))), "no key nokey"),
        (("bogus",), "there is no command 'bogus'"),
        (("tab", "/nosuch/file"), "/nosuch/file"),
    ):
        result = cron(*words)
        assert (result.returncode != 0, text in result.stderr) == (True, True), (words, result.stderr)


def test_help_of_a_sub_command(cron: Cron) -> None:
    assert "--min-interval" in cron("help", "event").stdout
