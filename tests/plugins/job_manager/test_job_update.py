"""Jobspec updates as the owner and as a guest: who may change what (flux-update(1)), and what goes with it."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jobs_kit import Jobs

from flux.errors import FluxError
from flux.message import ROLE_USER, Message

GUEST = 4321
DURATION = "attributes.system.duration"
Ask = Callable[..., Any]


@pytest.fixture
def ask(jobs: Jobs) -> Ask:
    """Send a request with a guest's credential; gives the answer or the error."""
    handle = jobs.instance.handle()
    start = handle.session.start_rpc

    def start_as_guest(rpc: Any, msg: Message) -> None:
        msg.userid, msg.rolemask = GUEST, ROLE_USER
        start(rpc, msg)

    handle.session.start_rpc = start_as_guest

    def send(topic: str, **payload: Any) -> Any:
        try:
            return handle.rpc(topic, payload).get()
        except FluxError as exc:
            return exc

    return send


@pytest.fixture
def guest_job(jobs: Jobs) -> Iterator[int]:
    """A held job of the guest's, past job-ingest, which takes none of them from us."""
    jobid = jobs.rpc("job-manager.getinfo")["max_jobid"] + 1
    job = {"id": jobid, "userid": GUEST, "urgency": 0, "t_submit": time.time(), "flags": 0}
    jobspec = jobs.spec("hold", duration=30.0)
    assert jobs.rpc("job-manager.submit", jobs=[{**job, "jobspec": jobspec}]) == {"errors": []}
    yield jobid
    jobs.cancel(jobid)


@pytest.fixture
def limit(jobs: Jobs) -> Iterator[None]:
    jobs.rpc("job-manager.config-reload", policy={"limits": {"duration": "1m"}})
    yield
    jobs.handle.rpc("job-manager.config-reload", {}).get()


def test_a_guest_keeps_the_limits_and_the_owner_need_not(jobs: Jobs, guest_job: int, ask: Ask, limit: None) -> None:
    assert ask("job-manager.update", id=guest_job, updates={DURATION: 40.0}) is None
    refused = ask("job-manager.update", id=guest_job, updates={DURATION: 90.0})
    assert str(refused) == "requested duration (1.5m) exceeds policy limit of 1m"
    jobs.rpc("job-manager.update", id=guest_job, updates={DURATION: 90.0})
    assert '"set-flags","context":{"flags":["immutable"]}' in jobs.eventlog(guest_job)


def test_what_the_owner_changed_past_all_checks_stays(jobs: Jobs, guest_job: int, ask: Ask) -> None:
    jobs.rpc("job-manager.update", id=guest_job, updates={DURATION: 90.0})
    refused = ask("job-manager.update", id=guest_job, updates={DURATION: 5.0})
    assert refused.errno == errno.EPERM
    assert str(refused) == "job is immutable due to previous instance owner update"
    jobs.rpc("job-manager.update", id=guest_job, updates={DURATION: 5.0})


def test_others_jobs_and_running_jobs_are_not_a_guests_to_change(jobs: Jobs, guest_job: int, ask: Ask) -> None:
    mine = jobs.submit("hold", urgency=0)
    assert ask("job-manager.update", id=mine, updates={DURATION: 5.0}).errno == errno.EPERM
    jobs.cancel(mine)
    jobs.rpc("job-manager.urgency", id=guest_job, urgency=16)
    jobs.wait_event(guest_job, "start")
    refused = ask("job-manager.update", id=guest_job, updates={DURATION: 50.0})
    assert str(refused) == "duration update of running job requires instance owner privileges"


@pytest.mark.parametrize(
    ("updates", "why"),
    [
        ({}, "one or more jobspec updates are invalid"),
        ({"tasks.0.x": 1}, "update of tasks.0.x not supported"),
        ({DURATION: -1.0}, "duration must not be negative"),
        ({DURATION: "1m"}, "duration must be a number of seconds, got '1m'"),
        ({DURATION: 5.0, "attributes.x": 1}, "update of attributes.x not supported"),
        ({"attributes.system.queue": "batch"}, "'batch' is not a valid queue"),
    ],
)
def test_a_wrong_update_changes_nothing(jobs: Jobs, updates: dict[str, Any], why: str) -> None:
    jobid = jobs.submit("hold", urgency=0)
    refused = jobs.error("job-manager.update", id=jobid, updates=updates)
    assert (refused.errno, str(refused)) == (errno.EINVAL, why)
    assert "jobspec-update" not in jobs.eventlog(jobid)
    jobs.cancel(jobid)


def test_the_end_of_the_instance_moves_the_end_of_its_jobs_without_a_duration(jobs: Jobs) -> None:
    limited, unlimited = jobs.submit("hold", duration=500.0), jobs.submit("hold")
    for jobid in (limited, unlimited):
        jobs.wait_event(jobid, "start")
    expiration = time.time() + 3600.0
    jobs.rpc("resource.expiration-update", expiration=expiration)
    moved = jobs.wait_event(unlimited, "resource-update")
    assert moved["context"] == {"expiration": pytest.approx(expiration)}
    assert "resource-update" not in jobs.eventlog(limited)
    refused = jobs.refusal("exit", "0", duration=7200.0)
    assert refused.startswith("job duration (2h) exceeds remaining instance lifetime (")
    jobs.rpc("resource.expiration-update", expiration=0.0)
    for jobid in (limited, unlimited):
        jobs.cancel(jobid)
        assert jobs.names(jobid)[-1] == "clean"


def test_events_may_gather_before_they_are_committed(jobs: Jobs) -> None:
    jobs.rpc("job-manager.set-batch-timeout", timeout=0.05)
    jobid = jobs.submit("exit", "0")
    assert jobs.names(jobid)[-1] == "clean"
    jobs.rpc("job-manager.set-batch-timeout", timeout=0.0)
    assert jobs.error("job-manager.set-batch-timeout", timeout=-1.0).errno == errno.EINVAL
