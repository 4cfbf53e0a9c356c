"""`flux resource` in a running instance of two brokers: what is free, what is drained and since when."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.cores import cores_of
from flux.testing import Instance, wait_for

Command = Callable[..., subprocess.CompletedProcess[str]]
CORES = cores_of(os.sched_getaffinity(0)).count()


@pytest.fixture
def resource(instance: Callable[..., Instance]) -> Command:
    running = instance(size=2)
    return lambda *words, **options: running.run("flux", "resource", *words, **options)


def cells(result: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert result.returncode == 0, result.stderr
    return [line.split() for line in result.stdout.splitlines()]


def test_list_and_info(resource: Command) -> None:
    host = os.uname().nodename.partition(".")[0]
    assert cells(resource("list")) == [
        ["STATE", "NNODES", "NCORES", "NGPUS", "NODELIST"],
        ["free", "2", str(2 * CORES), "0", f"{host},{host}"],
        ["allocated", "0", "0", "0"],
        ["down", "0", "0", "0"],
    ]
    assert resource("info").stdout == f"2 Nodes, {2 * CORES} Cores, 0 GPUs\n"
    assert resource("info", "-i", "1").stdout == f"1 Nodes, {CORES} Cores, 0 GPUs\n"
    assert resource("list", "-n", "-s", "free", "-i1", "-o", "{ranks}|{state:>5}|{rlist}").stdout.startswith(
        "1| free|rank1/"
    )
    assert [item["state"] for item in json.loads(resource("list", "--json", "--skip-empty").stdout)] == ["free"]


def test_a_job_shows(resource: Command, instance: Callable[..., Instance]) -> None:
    running = instance(size=2)
    jobid = running.run("flux", "submit", "-n1", "sleep", "1000").stdout.strip()
    wait_for(lambda: cells(resource("list", "-n", "-s", "allocated"))[0][1] == "1", what="the allocation")
    assert cells(resource("list", "-n", "-s", "free,allocated"))[0][2] == str(2 * CORES - 1)
    resource("drain", "0", "soon", "off")
    assert cells(resource("drain", "-n"))[0][2:5] == ["draining", "soon", "off"]
    running.run("flux", "cancel", jobid)
    wait_for(lambda: cells(resource("drain", "-n"))[0][2] == "drained", what="the end of the job")
    assert resource("undrain", "0").returncode == 0


def test_drain_and_undrain(resource: Command) -> None:
    assert resource("drain", "1", "bad", "fan").returncode == 0
    rows = json.loads(resource("drain", "--json").stdout)
    assert [(row["ranks"], row["state"], row["reason"]) for row in rows] == [("1", "drained", "bad fan")]
    again = resource("drain", "1", "other")
    assert (again.returncode, "--force" in again.stderr) == (1, True)
    assert resource("drain", "-f", "1", "other").returncode == 0
    assert resource("drain", "-u", "0-1", "both").returncode == 0
    assert {row["ranks"]: row["reason"] for row in json.loads(resource("drain", "--json").stdout)} == {
        "0": "both",
        "1": "other",
    }
    host = os.uname().nodename.partition(".")[0]
    assert cells(resource("status", "-n")) == [["drained", "✔", "2", f"{host},{host}"]]
    reasons = cells(resource("status", "-n", "-o", "{nnodes} {reason}"))
    assert sorted(reasons) == [["1", "both"], ["1", "other"]]
    assert resource("undrain", "0-1").returncode == 0
    assert resource("undrain", "0").returncode == 1
    assert resource("undrain", "-u", "0").returncode == 0
    assert cells(resource("status", "-n"))[0][:3] == ["avail", "✔", "2"]
    assert "\033[01;32m" in resource("status", "--color=always").stdout


def test_status_of_all_states(resource: Command) -> None:
    states = [row[0] for row in cells(resource("status", "-n", "-s", "all"))]
    assert states == ["avail", "exclude", "allocated", "torpid", "housekeeping", "draining", "drained"]
    assert [row[0] for row in cells(resource("status", "-n", "-s", "offline,online"))] == ["offline", "online"]


def test_R_and_eventlog(resource: Command) -> None:
    assert json.loads(resource("R", "-i", "0").stdout)["execution"]["R_lite"][0]["rank"] == "0"
    lines = [json.loads(line) for line in resource("eventlog", "-f", "json").stdout.splitlines()]
    assert {"restart", "resource-define", "online"} <= {event["name"] for event in lines}
    assert resource("eventlog", "--wait", "resource-define").stdout.splitlines()[-1].split()[1] == "resource-define"


def test_reload_and_errors(resource: Command, tmp_path: Path) -> None:
    path = tmp_path / "R"
    path.write_text(resource("R").stdout)
    busy = resource("reload", str(path))
    assert (busy.returncode, "busy" in busy.stderr) == (1, True)
    for words, text in (
        (("list", "-s", "bogus"), "Invalid resource state bogus"),
        (("list", "-o", "{color}"), "Unknown format field: color"),
        (("list", "-o", "{state"), "malformed"),
        (("list", "-o", "nosuch"), "No such format nosuch (Did you mean '{nosuch}'?)"),
        (("list", "-i", "nosuch"), "nosuch"),
        (("list", "-q", "nosuch"), "no queue nosuch"),
        (("drain", "7"), "7"),
        (("drain", "-u", "-f", "0"), "contradict"),
        (("reload", "/nosuch"), "/nosuch"),
    ):
        result = resource(*words)
        assert (result.returncode, text in result.stderr) == (1, True), (words, result.stderr)
    assert resource("list", "-n", "-s", "all", "-o", "{state} {properties}|{propertiesx}").stdout == "all |\n"
    assert resource("status", "-n", "-o", "{status}").stdout.split() == ["online"]
    assert "  rlist        Format including resource list details\n" in resource("list", "-o", "help").stdout
