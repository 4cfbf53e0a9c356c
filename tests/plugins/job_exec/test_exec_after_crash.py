"""An instance that was killed comes back: each job ends once, as it did, or is said to be lost (RFC 32)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.eventlog import Event
from flux.job import JobID
from flux.kvs import KVSTxn, commit
from flux.testing import Instance

EXIT_3 = 3 << 8
SIZE = 3  # a core for each job, wherever this runs


class Life(dict[str, str]):
    """The instance after the crash, and its jobs by what was on record of them."""

    def __init__(self, instance: Instance, jobs: dict[str, str]) -> None:
        super().__init__(jobs)
        self.instance = instance

    def run(self, *words: str) -> str:
        return self.instance.run("flux", *words).stdout

    def events(self, name: str, path: str = "eventlog") -> list[dict[str, Any]]:
        text = self.run("job", "info", self[name], path)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Three jobs that ran; of one the end was recorded where its output is kept, of another in its eventlog."""
    state = tmp_path_factory.mktemp("state")
    with Instance(SIZE, attrs={"statedir": str(state)}) as before:
        jobs = {name: submit(before, state) for name in ("running", "kept", "finished")}
        assert before.run("flux", "module", "remove", "job-exec").returncode == 0  # nobody records more than we do
        handle = before.handle()
        kept, finished = (JobID(jobs[name]).kvs for name in ("kept", "finished"))
        commit(handle, txn=KVSTxn().unlink(f"{kept}.guest"))
        complete = Event(time.time(), "complete", {"status": EXIT_3}).encode()
        commit(handle, txn=KVSTxn().put_raw(f"{kept}.guest.exec.eventlog", complete.encode()))
        finish = Event(time.time(), "finish", {"status": 0}).encode()
        commit(handle, txn=KVSTxn().append(f"{finished}.eventlog", finish))
        assert before.run("flux", "kvs", "put", "--sync", "x=1").returncode == 0
        before.kill()
    with Instance(SIZE, attrs={"statedir": str(state)}) as after:
        for jobid in jobs.values():
            assert after.run("flux", "job", "wait-event", "--timeout=60s", jobid, "clean").returncode == 0
        yield Life(after, jobs)


def submit(instance: Instance, state: Path) -> str:
    jobid = instance.run("flux", "submit", "sh", "-c", f"echo >>{state}/begun; exec sleep 1000").stdout.strip()
    assert instance.run("flux", "job", "wait-event", "--timeout=60s", jobid, "start").returncode == 0
    return jobid


def test_a_job_that_ran_is_lost_and_says_so(life: Life) -> None:
    events = life.events("running")
    assert [event["name"] for event in events][-4:] == ["exception", "release", "free", "clean"]
    assert events[-4]["context"]["note"].startswith("the instance crashed while the job was running")
    assert [event["name"] for event in life.events("running", "guest.exec.eventlog")] == ["done"]


def test_a_job_whose_end_is_recorded_where_its_output_is_ends_so(life: Life) -> None:
    events = life.events("kept")
    assert [event["name"] for event in events][-4:] == ["finish", "release", "free", "clean"]
    assert events[-4]["context"] == {"status": EXIT_3}
    kept = [event["name"] for event in life.events("kept", "guest.exec.eventlog")]
    assert kept == ["complete"]


def test_a_job_that_is_known_to_have_ended_has_not_failed(life: Life) -> None:
    events = life.events("finished")
    assert [event["name"] for event in events][-5:] == ["finish", "exception", "release", "free", "clean"]
    assert events[-4]["context"]["severity"] == 1
    assert life.run("jobs", "-ano", "{status}", life["finished"]) == "COMPLETED\n"


def test_what_is_wrong_is_said_in_one_line(life: Life) -> None:
    said = life.run("dmesg").splitlines()
    wrong = [line for line in said if ".err[" in line or ".warning[" in line]
    assert len(wrong) == 1 and "not shut down properly" in wrong[0], said
