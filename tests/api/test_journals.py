"""Journals, and what programs look up about jobs and resources (flux.abc, flux.job.lookup, flux.resource)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

import flux.job
from flux.errors import FluxError
from flux.idset import IDset
from flux.job import JobKVSLookup, JobspecV1, JournalConsumer
from flux.resource import ResourceJournalConsumer, resource_list, resource_status
from flux.testing import Instance

BOUND = 60.0


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2)


def finished(handle: Any) -> int:
    jobid = flux.job.submit(handle, JobspecV1.from_command(["true"]))
    flux.job.result(handle, jobid)
    return jobid


def test_journal_gives_the_past_in_order_then_the_present(handle: Any) -> None:
    first = [finished(handle), finished(handle)]
    journal = JournalConsumer(handle, include_sentinel=True).start()
    past = []
    while (event := journal.poll(BOUND)) != JournalConsumer.SENTINEL_EVENT:
        assert event is not None
        past.append(event)
    assert [event.timestamp for event in past] == sorted(event.timestamp for event in past)
    assert {event.jobid for event in past} >= set(first)
    submit = next(event for event in past if (event.jobid, event.name) == (first[0], "submit"))
    assert submit.jobspec is not None and submit.jobspec["tasks"][0]["command"] == ["true"]
    alloc = next(event for event in past if event.name == "alloc")
    assert alloc.R is not None and alloc.jobspec is None
    later = finished(handle)
    while (event := journal.poll(BOUND)) is not None and event.name != "clean":
        assert event.jobid == later
    journal.stop()
    while journal.poll(BOUND) is not None:
        pass


def test_journal_since_a_time(handle: Any) -> None:
    finished(handle)
    journal = JournalConsumer(handle, include_sentinel=True).start()
    newest = 0.0
    while (event := journal.poll(BOUND)) is not None and not event.is_empty():
        newest = event.timestamp
    journal.stop()
    again = JournalConsumer(handle, since=newest, include_sentinel=True).start()
    event = again.poll(BOUND)
    assert event is not None and event.is_empty()
    again.stop()


def test_journal_without_the_past(handle: Any) -> None:
    finished(handle)
    journal = JournalConsumer(handle, full=False).start()
    with pytest.raises(TimeoutError):
        journal.poll(0.05)
    later = finished(handle)
    event = journal.poll(BOUND)
    assert event is not None and event.jobid == later
    journal.stop()


def test_journal_with_a_callback(handle: Any) -> None:
    jobid = finished(handle)
    seen: list[Any] = []

    def on_event(event: Any, word: str) -> None:
        seen.append(event and (event.jobid, event.name, word))
        if event and event.is_empty():
            journal.stop()
        if event is None:
            handle.reactor_stop()

    journal = JournalConsumer(handle, include_sentinel=True).set_callback(on_event, word="here").start()
    handle.reactor_run()
    assert (jobid, "clean", "here") in seen
    assert seen[-1] is None


def test_journal_that_was_not_started(handle: Any) -> None:
    with pytest.raises(RuntimeError, match="start"):
        JournalConsumer(handle).poll()


def test_resource_journal(handle: Any) -> None:
    journal = ResourceJournalConsumer(handle, include_sentinel=True).start()
    events = []
    while (event := journal.poll(BOUND)) is not None and not event.is_empty():
        events.append(event)
    journal.stop()
    assert str(event) == "End of historical data stream"
    defined = next(event for event in events if event.name == "resource-define")
    assert defined.R is not None and defined.R["version"] == 1
    assert dict(defined) == {"timestamp": defined.timestamp, "name": defined.name, "context": defined.context}


def test_lookups_of_a_job(handle: Any) -> None:
    jobid = finished(handle)
    found = flux.job.job_kvs_lookup(handle, jobid, keys=["jobspec", "R", "eventlog"])
    assert found is not None and list(found) == ["id", "jobspec", "R", "eventlog"]
    assert found["R"]["version"] == 1 and found["eventlog"].count("\n") > 5
    original = flux.job.job_kvs_lookup(handle, jobid, decode=False, original=True)
    assert original is not None and original["jobspec"].startswith("{")
    assert "environment" in original["jobspec"]
    assert flux.job.job_info_lookup(handle, jobid).get_decode()["jobspec"]["version"] == 1
    assert flux.job.job_kvs_lookup(handle, 1) is None
    job = flux.job.get_job(handle, jobid)
    assert job is not None and (job["id"], job["result"], job["returncode"]) == (jobid, "COMPLETED", 0)
    assert flux.job.get_job(handle, 1) is None


def test_lookup_of_several_jobs(handle: Any) -> None:
    jobid = finished(handle)
    lookup = JobKVSLookup(handle, [jobid, 1], ["R"])
    assert [sorted(data) for data in lookup.data()] == [["R", "id"]]
    assert lookup.errors == ["JobID 1 unknown"]
    assert JobKVSLookup(handle).data() == []


def test_time_left(handle: Any, running: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_JOB_ID", raising=False)
    assert flux.job.timeleft(handle) == math.inf
    script = "import flux.job; print(flux.job.timeleft())"
    done = running.run("flux", "run", "-t", "5m", sys.executable, "-c", script)
    assert 0 < float(done.stdout) <= 300
    monkeypatch.setenv("FLUX_JOB_ID", str(int(finished(handle))))
    with pytest.raises(FluxError, match="not running"):
        flux.job.timeleft(handle)


def test_resources_by_state(handle: Any) -> None:
    resources = resource_list(handle).get()
    assert resources.up.ranks == resources["all"].ranks == IDset("0-1")
    assert (resources.down.nnodes, resources.free.state) == (0, "free")
    assert resources.copy_constraint({"ranks": ["1"]}).up.ranks == IDset("1")
    assert resources.filter("1").free.ranks == IDset("1")
    with pytest.raises(KeyError):
        resources["nosuch"]
    with pytest.raises(ValueError, match="nosuchhost"):
        resources.filter("nosuchhost")


def test_ranks_by_state(handle: Any, running: Instance) -> None:
    assert running.run("flux", "resource", "drain", "1", "broken fan").returncode == 0
    status = resource_status(handle).get()
    assert (status.online, status["drained"], status.avail) == (IDset("0-1"), IDset("1"), IDset("0"))
    assert status.get_idset("drained", "avail") == status.all
    info = status.get_drain_info(1)
    assert info is not None and info.reason == "broken fan"
    assert status.get_drain_info(0) is None
    assert status.filter("0").drained == IDset()
    assert running.run("flux", "resource", "undrain", "1").returncode == 0
