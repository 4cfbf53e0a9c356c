"""An instance ends and comes back: its jobs and queues are as they were (RFC 16, RFC 21)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flux.testing import Instance

CONFIG = """
[queues.batch]
[queues.debug]
[job-manager]
stop-queues-on-restart = {}
"""
SHOWN = "{id.dec} {state} {urgency} {priority} {duration} {dependencies} {result}"


def submit(instance: Instance, *words: str) -> str:
    found = instance.run("flux", "submit", "-qbatch", *words)
    assert found.returncode == 0, found.stderr
    return instance.run("flux", "job", "id", "--to=dec", found.stdout.strip()).stdout.strip()


def wait(instance: Instance, jobid: str, event: str = "clean") -> None:
    assert instance.run("flux", "job", "wait-event", "-t60", jobid, event).returncode == 0


def names(instance: Instance, jobid: str) -> list[str]:
    lines = instance.run("flux", "job", "eventlog", "-fjson", jobid).stdout.splitlines()
    return [json.loads(line)["name"] for line in lines]


class Place:
    """A state directory, and the instances that live in it one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state").mkdir()

    def instance(self, stop_on_restart: bool = False) -> Instance:
        conf = self.folder / "conf.toml"
        conf.write_text(CONFIG.format(str(stop_on_restart).lower()))
        return Instance(attrs={"statedir": str(self.folder / "state")}, args=[f"--config-path={conf}"])


class Lives(NamedTuple):
    """An instance that came back.

    Attributes:
        ids: of jobs it had before. before, after: how they were shown. queues: as they were at first.
    """

    instance: Instance
    ids: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    queues: list[str]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    place = Place(tmp_path_factory.mktemp("place"))
    with place.instance() as before:
        before.run("flux", "queue", "start", "--all")
        ids = {"over": submit(before, "true"), "failed": submit(before, "false")}
        for jobid in list(ids.values()):
            wait(before, jobid)
        ids["held"] = submit(before, "--urgency=0", "true")
        ids["dependent"] = submit(before, f"--dependency=afterok:{ids['held']}", "true")
        ids["later"] = submit(before, "--begin-time=+1h", "true")
        ids["running"] = submit(before, "sleep", "600")
        wait(before, ids["running"], "start")
        before.run("flux", "queue", "stop", "-mwhy", "batch")
        before.run("flux", "queue", "disable", "--nocheckpoint", "debug")
        ids["pending"] = submit(before, "-t5m", "--urgency=7", "true")
        assert before.run("flux", "update", ids["pending"], "duration=7m").returncode == 0
        shown = jobs(before)
    with place.instance(stop_on_restart=True) as after:
        yield Lives(after, ids, shown, jobs(after), after.run("flux", "queue", "status").stdout.splitlines())


def jobs(instance: Instance) -> dict[str, str]:
    lines = instance.run("flux", "jobs", "-ano", SHOWN).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_queues_come_back_as_they_were(lives: Lives) -> None:
    assert lives.queues == [
        "batch: Job submission is enabled",
        "batch: Scheduling is stopped: why",
        "debug: Job submission is enabled",
        "debug: Scheduling is stopped: Automatically stopped due to restart",
    ]


def test_jobs_are_shown_as_before(lives: Lives) -> None:
    for name in ("over", "failed", "held", "dependent", "later", "pending"):
        assert lives.after[lives.ids[name]] == lives.before[lives.ids[name]], name


def test_what_ran_was_canceled_with_the_instance(lives: Lives) -> None:
    assert names(lives.instance, lives.ids["running"])[-5:] == ["exception", "finish", "release", "free", "clean"]


def test_what_waited_goes_on(lives: Lives) -> None:
    instance, ids = lives.instance, lives.ids
    instance.run("flux", "queue", "start", "--all")
    wait(instance, ids["pending"])
    assert names(instance, ids["pending"])[-7:-5] == ["priority", "alloc"]
    instance.run("flux", "job", "urgency", ids["held"], "16")
    wait(instance, ids["dependent"])
    wait(instance, submit(instance, "true"))
    assert int(submit(instance, "true")) > int(ids["pending"])
