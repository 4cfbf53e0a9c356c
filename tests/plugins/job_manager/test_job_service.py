"""Jobs through job-ingest, job-manager, scheduler and job-info of a running instance."""

from __future__ import annotations

import errno
import os

import pytest
from jobs_kit import NORMAL_LIFE, Jobs

from flux.cores import cores_of
from flux.errors import FluxError
from flux.job.submit import submit_async
from flux.message import FLAG_STREAMING


def test_a_job_goes_through_the_states_of_rfc_21(jobs: Jobs) -> None:
    events = jobs.events(jobs.submit("exit", "0"))
    assert [event["name"] for event in events] == NORMAL_LIFE
    assert events[0]["context"] == {"userid": os.getuid(), "urgency": 16, "flags": 4, "version": 1}
    assert events[3]["context"] == {"priority": 16}
    assert events[6]["context"] == {"status": 0}
    assert events[7]["context"] == {"ranks": "all", "final": True}
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)


def test_hundred_jobs_submitted_at_once_all_end_with_their_own_status(jobs: Jobs) -> None:
    futures = [submit_async(jobs.handle, jobs.spec("exit", str(i % 3)), waitable=True) for i in range(100)]
    ids = [int(future.get_id()) for future in futures]
    assert ids == sorted(set(ids))
    results = [jobs.wait(jobid) for jobid in ids]
    assert [result["success"] for result in results] == [i % 3 == 0 for i in range(100)]
    assert results[2]["errstr"] == "task(s) exited with exit code 2"


def test_the_environment_is_in_J_and_nowhere_else(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0")
    jobs.wait(jobid)
    found = jobs.rpc("job-info.lookup", id=jobid, keys=["J", "jobspec", "R"], flags=1)
    assert "environment" not in found["jobspec"]["attributes"]["system"]
    assert found["R"]["execution"]["R_lite"][0]["rank"] == "0"
    assert found["J"].endswith(".none")


def test_asking_for_more_than_there_is_fails_at_once_and_says_so(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0", tasks=100000)
    assert jobs.wait(jobid)["success"] is False
    exception = next(event for event in jobs.events(jobid) if event["name"] == "exception")
    assert exception["context"]["type"] == "alloc" and exception["context"]["severity"] == 0
    assert "100000 cores asked" in exception["context"]["note"]


def test_canceling_a_running_job(jobs: Jobs) -> None:
    jobid = jobs.submit("hold")
    jobs.wait_event(jobid, "start")
    jobs.rpc("job-manager.raise", id=jobid, type="cancel", severity=0, note="enough")
    assert jobs.wait(jobid) == {"id": jobid, "success": False, "errstr": "Fatal exception type=cancel enough"}
    exception = jobs.events(jobid)[6]
    assert list(exception["context"].items()) == [
        ("type", "cancel"),
        ("severity", 0),
        ("note", "enough"),
        ("userid", os.getuid()),
    ]


def test_canceling_a_job_that_waits_for_resources(jobs: Jobs) -> None:
    cores = cores_of(os.sched_getaffinity(0)).count()
    running = jobs.submit("hold", tasks=cores)
    jobs.wait_event(running, "start")
    waiting = jobs.submit("exit", "0")
    jobs.wait_event(waiting, "priority")
    jobs.cancel(waiting)
    assert jobs.names(waiting) == ["submit", "validate", "depend", "priority", "exception", "clean"]
    jobs.cancel(running)
    jobs.wait(running)


def test_a_held_job_runs_when_its_urgency_is_raised(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0", urgency=0)
    jobs.wait_event(jobid, "priority")
    assert jobs.rpc("job-manager.urgency", id=jobid, urgency=20) == {"old_urgency": 0}
    assert jobs.wait(jobid)["success"]
    priorities = [event["context"]["priority"] for event in jobs.events(jobid) if event["name"] == "priority"]
    assert priorities == [0, 20]


def test_expedited_jobs_go_first(jobs: Jobs) -> None:
    jobs.rpc("job-manager.queue-start", start=False, all=True, reason="test")
    ids = [jobs.submit("exit", "0", urgency=urgency) for urgency in (1, 31, 16)]
    listed = [job["id"] for job in jobs.rpc("job-manager.list", max_entries=3)["jobs"]]
    assert listed == [ids[1], ids[2], ids[0]]
    jobs.rpc("job-manager.queue-start", start=True, all=True)
    for jobid in ids:
        assert jobs.wait(jobid)["success"]


@pytest.mark.parametrize(
    ("topic", "payload", "errnum", "text"),
    [
        ("raise", {"id": 1, "type": "x", "severity": 0}, errno.ENOENT, "unknown job id"),
        ("raise", {"id": 1, "type": "a b", "severity": 0}, errno.EPROTO, "invalid exception type"),
        ("raise", {"id": 1, "type": "x", "severity": 8}, errno.EPROTO, "invalid exception severity"),
        ("kill", {"id": 1, "signum": 15}, errno.EINVAL, "unknown job id"),
        ("urgency", {"id": 1, "urgency": 5}, errno.EINVAL, "unknown job"),
        ("getattr", {"id": 1, "attrs": []}, errno.EINVAL, "unknown job"),
        ("memo", {"id": 1, "memo": {}}, errno.ENOENT, "unknown job id"),
        ("queue-status", {"name": "x"}, errno.EINVAL, "'x' is not a valid queue"),
        ("purge-id", {"id": 1, "force": 0}, errno.ENOENT, "id not found"),
        ("jobtap-query", {"name": "x"}, errno.EINVAL, "x: plugin not found"),
        ("jobtap", {"remove": "nope"}, errno.ENOENT, "no loaded plugin matches nope"),
    ],
)
def test_refusals_say_what_is_wrong(jobs: Jobs, topic: str, payload: dict, errnum: int, text: str) -> None:
    error = jobs.error(f"job-manager.{topic}", **payload)
    assert (error.errno, str(error)) == (errnum, text)


def test_what_is_over_stays_as_it_is(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0")
    jobs.wait(jobid)
    for topic, extra in (("raise", {"type": "x", "severity": 0}), ("kill", {"signum": 15}), ("memo", {"memo": {}})):
        assert str(jobs.error(f"job-manager.{topic}", id=jobid, **extra)) == "job is inactive"
    assert jobs.error("job-manager.wait", id=jobid).errno == errno.ECHILD


def test_waiting_needs_something_to_wait_for(jobs: Jobs) -> None:
    jobs.reap()
    assert str(jobs.error("job-manager.wait", id=-1)) == "there are no more waitable jobs"
    jobid = jobs.submit("hold", waitable=False)
    assert str(jobs.error("job-manager.wait", id=jobid)) == "job was not submitted with FLUX_JOB_WAITABLE"
    jobs.cancel(jobid)
    assert "clean" in jobs.names(jobid)


def test_two_cannot_wait_for_one_job(jobs: Jobs) -> None:
    jobid = jobs.submit("hold")
    first = jobs.handle.rpc("job-manager.wait", {"id": jobid})
    assert str(jobs.error("job-manager.wait", id=jobid)) == "job id already has a waiter"
    jobs.cancel(jobid)
    assert first.get()["success"] is False


def test_bad_submissions_are_refused(jobs: Jobs) -> None:
    refuse = jobs.error
    assert str(refuse("job-ingest.submit", J="x", urgency=16, flags=0)).startswith("could not unwrap jobspec")
    assert refuse("job-ingest.submit", J="x", urgency=16, flags=64).errno == errno.EPROTO
    assert str(refuse("job-ingest.submit", J="x", urgency=32, flags=0)) == "urgency range is [0:31]"
    bad = jobs.spec("exit", "0")
    del bad["resources"]
    with pytest.raises(FluxError, match=r"Missing key \(resources\)"):
        submit_async(jobs.handle, bad).get_id()


def test_a_closed_queue_takes_no_jobs_and_leaves_nothing_in_the_store(jobs: Jobs) -> None:
    jobs.rpc("job-manager.queue-enable", enable=False, all=True, reason="maintenance")
    status = jobs.rpc("job-manager.queue-status")
    assert status == {"enable": False, "start": True, "disable_reason": "maintenance"}
    assert jobs.refusal("exit", "0") == "job submission is disabled: maintenance"
    jobs.rpc("job-manager.queue-enable", enable=True, all=True)
    assert jobs.wait(jobs.submit("exit", "0"))["success"]


def test_raiseall_and_killall_count_what_they_would_hit(jobs: Jobs) -> None:
    ids = [jobs.submit("hold") for _ in range(2)]
    for jobid in ids:
        jobs.wait_event(jobid, "start")
    request = {"dry_run": True, "userid": -1, "states": 16, "severity": 0, "type": "cancel"}
    assert jobs.rpc("job-manager.raiseall", **request) == {"count": 2, "errors": 0}
    assert jobs.rpc("job-manager.killall", dry_run=True, userid=-1, signum=15) == {"count": 2, "errors": 0}
    assert jobs.rpc("job-manager.raiseall", **{**request, "dry_run": False})["count"] == 2
    assert [jobs.wait(jobid)["success"] for jobid in ids] == [False, False]


def test_kill_publishes_an_event_for_the_jobs_shells(jobs: Jobs) -> None:
    jobid = jobs.submit("hold")
    jobs.wait_event(jobid, "start")
    listener = jobs.instance.handle()
    listener.event_subscribe(f"shell-{jobid}.")
    jobs.rpc("job-manager.kill", id=jobid, signum=10)
    event = listener.event_recv()
    assert (event.topic, event.payload) == (f"shell-{jobid}.kill", {"signum": 10})
    jobs.cancel(jobid)
    jobs.wait(jobid)


def test_the_journal_tells_all_events_with_jobspec_and_R(jobs: Jobs) -> None:
    first = jobs.submit("exit", "0")
    jobs.wait(first)
    journal = jobs.instance.handle().rpc("job-manager.events-journal", {"full": True}, flags=FLAG_STREAMING)
    backlog = {}
    for entry in journal:
        if entry["id"] == -1:
            break
        backlog[entry["id"]] = entry
    assert [event["name"] for event in backlog[first]["events"]] == NORMAL_LIFE
    assert backlog[first]["R"] and backlog[first]["jobspec"]
    second = jobs.submit("exit", "0")
    seen: list[str] = []
    for entry in journal:
        if entry["id"] == second:
            names = [event["name"] for event in entry["events"]]
            assert ("jobspec" in entry) == ("submit" in names)
            assert ("R" in entry) == ("alloc" in names)
            seen += names
        if "clean" in seen:
            break
    assert seen == NORMAL_LIFE
    jobs.wait(second)


def test_purging_removes_a_job_and_its_data(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0")
    jobs.wait(jobid)
    assert jobs.rpc("job-manager.purge-id", id=jobid, force=1) == {"count": 1}
    jobs.wait(jobs.submit("exit", "0"))  # its events are committed after the removal
    error = jobs.error("job-info.lookup", id=jobid, keys=["jobspec"], flags=0)
    assert (error.errno, str(error)) == (errno.ENOENT, "invalid job id")


def test_a_memo_is_kept_in_the_eventlog(jobs: Jobs) -> None:
    jobid = jobs.submit("hold")
    jobs.rpc("job-manager.memo", id=jobid, memo={"uri": "local:///x"})
    assert jobs.wait_event(jobid, "memo")["context"] == {"uri": "local:///x"}
    jobs.cancel(jobid)
    jobs.wait(jobid)


def test_the_duration_of_a_pending_job_can_be_changed(jobs: Jobs) -> None:
    jobid = jobs.submit("exit", "0", urgency=0)
    jobs.rpc("job-manager.update", id=jobid, updates={"attributes.system.duration": 60})
    current = jobs.rpc("job-info.lookup", id=jobid, keys=["jobspec"], flags=3)
    assert current["jobspec"]["attributes"]["system"]["duration"] == 60
    error = jobs.error("job-manager.update", id=jobid, updates={"attributes.system.cwd": "/x"})
    assert str(error) == "update of attributes.system.cwd not supported"
    jobs.cancel(jobid)
    jobs.wait(jobid)


def test_idle_and_drain_are_answered_when_jobs_are_over(jobs: Jobs) -> None:
    running = jobs.submit("hold")
    jobs.wait_event(running, "start")
    held = jobs.submit("exit", "0", urgency=0)
    idle = jobs.handle.rpc("job-manager.idle")
    drain = jobs.handle.rpc("job-manager.drain")
    jobs.cancel(running)
    assert idle.get() == {"pending": 1}
    assert not drain.is_ready()
    jobs.cancel(held)
    assert drain.get() is None


def test_an_execution_service_that_talks_nonsense_is_logged_and_harms_no_job(jobs: Jobs) -> None:
    ids = [jobs.submit("confused"), jobs.submit("exit", "0")]
    assert [jobs.wait(jobid)["success"] for jobid in ids] == [True, True]
    assert jobs.names(ids[0]) == NORMAL_LIFE
    assert "makes no sense" in jobs.flux("dmesg").stdout
