"""Real jobs through job-exec, and what job-list tells of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flux import kvs
from flux.cores import cores_of
from flux.errors import FluxError
from flux.eventlog import decode
from flux.job import JobID
from flux.message import FLAG_STREAMING
from flux.testing import Instance, wait_for


@pytest.fixture
def here(instance: Callable[..., Instance]) -> Instance:
    return instance(2)


def submit(here: Instance, *args: str) -> JobID:
    result = here.run("flux", "submit", *args)
    assert result.returncode == 0, result.stderr
    return JobID(result.stdout.strip())


def wait(here: Instance, jobid: JobID, event: str = "clean") -> None:
    result = here.run("flux", "job", "wait-event", "-t", "30", str(jobid), event)
    assert result.returncode == 0, result.stderr


def shown(here: Instance, jobid: int, *attrs: str) -> dict[str, Any]:
    request = {"id": int(jobid), "attrs": list(attrs)}
    job: dict[str, Any] = here.handle().rpc("job-list.list-id", request).get()["job"]
    return job


def guest_events(here: Instance, jobid: JobID) -> list[Any]:
    """Events of exec.eventlog once the namespace is kept with the job."""
    handle = here.handle()
    wait_for(lambda: not sealing(handle), what="namespace kept")
    return decode(kvs.lookup_async(handle, f"{jobid.kvs}.guest.exec.eventlog", namespace="primary").value())


def sealing(handle: Any) -> int:
    return int(handle.rpc("job-exec.stats-get").get()["sealing"])


def test_a_job_leaves_its_guest_directory_and_no_namespace(here: Instance) -> None:
    jobid = submit(here, "-N2", "-n2", "echo", "hello")
    wait(here, jobid)
    names = [event.name for event in guest_events(here, jobid)]
    assert names[:2] == ["init", "starting"] and names[-2:] == ["complete", "done"]
    assert names.count("shell-exit") == 2 and "shell.start" in names
    handle = here.handle()
    assert f"job-{int(jobid)}" not in [entry["namespace"] for entry in kvs.namespace_list(handle)]
    entry = kvs.lookup_async(handle, f"{jobid.kvs}.guest", 16, namespace="primary").get()
    assert entry["type"] == "dirref"


def test_resources_come_back(here: Instance) -> None:
    cores = 2 * cores_of(os.sched_getaffinity(0)).count()
    for _ in range(3):
        wait(here, submit(here, f"-n{cores}", "true"))
    status = here.handle().rpc("sched.resource-status").get()
    assert status["allocated"]["execution"]["R_lite"] == []


def test_what_a_shell_prints_is_in_the_eventlog(here: Instance, tmp_path: Any) -> None:
    script = tmp_path / "shell"
    script.write_text("#!/bin/sh\necho to stdout\necho to stderr >&2\nexit 5\n")
    script.chmod(0o755)
    jobid = submit(here, f"--setattr=system.exec.job_shell={script}", "true")
    wait(here, jobid)
    logs = {event.context["stream"]: event.context for event in guest_events(here, jobid) if event.name == "log"}
    assert logs["stdout"] == {"component": "shell", "stream": "stdout", "rank": "0", "data": "to stdout"}
    assert logs["stderr"]["data"] == "to stderr"
    assert shown(here, jobid, "waitstatus")["waitstatus"] == 5 << 8


def test_a_shell_that_is_not_there_is_named(here: Instance) -> None:
    jobid = submit(here, "--setattr=system.exec.job_shell=/no/such/shell", "true")
    wait(here, jobid)
    job = shown(here, jobid, "exception_type", "exception_note", "result", "waitstatus")
    assert (job["exception_type"], job["result"], job["waitstatus"]) == ("exec", 2, 127 << 8)
    assert "could not be started" in job["exception_note"] and "No such file" in job["exception_note"]


def test_a_canceled_job_ends_on_all_ranks(here: Instance) -> None:
    jobid = submit(here, "-N2", "-n2", "sleep", "300")
    wait(here, jobid, "start")
    assert here.run("flux", "cancel", str(jobid)).returncode == 0
    wait(here, jobid)
    assert shown(here, jobid, "result")["result"] == 4
    handle = here.handle()
    wait_for(lambda: handle.rpc("rexec.list", nodeid=1).get()["procs"] == [], what="the end of the shell of rank 1")


def test_tasks_that_ignore_sigterm_are_killed(instance: Callable[..., Instance], tmp_path: Any) -> None:
    (tmp_path / "exec.toml").write_text('[exec]\nkill-timeout = "200ms"\n')
    here = instance(1, args=[f"--config-path={tmp_path}"])
    jobid = submit(here, "sh", "-c", 'trap "" TERM; echo ready; while true; do sleep 300; done')
    followed = here.handle().rpc(
        "job-info.eventlog-watch", {"id": int(jobid), "path": "guest.output", "flags": 1}, flags=FLAG_STREAMING
    )
    for response in followed:
        if "ready" in response["event"]:
            break
    assert here.run("flux", "cancel", str(jobid)).returncode == 0
    wait(here, jobid)
    assert shown(here, jobid, "waitstatus")["waitstatus"] == 137 << 8


def test_a_time_limit_ends_a_job(here: Instance) -> None:
    submitted = time.time()
    jobid = submit(here, "-t", "200ms", "sleep", "300")
    wait(here, jobid)
    job = shown(here, jobid, "result", "exception_type", "expiration", "t_run")
    assert job["result"] == 8 and job["exception_type"] == "timeout"
    assert submitted <= job["expiration"] - 0.2 <= job["t_run"] + 1.0


def test_a_new_expiration_counts(here: Instance) -> None:
    jobid = submit(here, "sleep", "300")
    wait(here, jobid, "start")
    here.handle().rpc("job-exec.expiration", {"id": int(jobid), "expiration": 1.0}).get()
    wait(here, jobid)
    assert shown(here, jobid, "result")["result"] == 8


def test_a_test_job_has_no_shell(here: Instance) -> None:
    jobid = submit(here, "--setattr=system.exec.test.run_duration=0.05", "-N2", "nosuchprogram")
    wait(here, jobid)
    assert shown(here, jobid, "result", "waitstatus")["waitstatus"] == 0
    failed = submit(
        here, "--setattr=system.exec.test.run_duration=0.01", "--setattr=system.exec.test.wait_status=256", "x"
    )
    wait(here, failed)
    assert shown(here, failed, "waitstatus")["waitstatus"] == 256


def test_a_test_job_can_be_told_when_to_start_and_finish(here: Instance) -> None:
    jobid = submit(here, "--setattr=system.exec.test.override=1", "x")
    handle = here.handle()
    wait(here, jobid, "alloc")
    wait_for(lambda: handle.rpc("job-exec.stats-get").get()["jobs"], what="job known to job-exec")
    with pytest.raises(FluxError, match="has not started"):
        handle.rpc("job-exec.override", {"event": "finish", "jobid": int(jobid)}).get()
    handle.rpc("job-exec.override", {"event": "start", "jobid": int(jobid)}).get()
    wait(here, jobid, "start")
    handle.rpc("job-exec.override", {"event": "finish", "jobid": int(jobid), "status": 9}).get()
    wait(here, jobid)
    assert shown(here, jobid, "waitstatus")["waitstatus"] == 9


@pytest.mark.parametrize(
    ("topic", "payload", "text"),
    [
        ("shell-barrier", {"id": 1, "rank": 0}, "not running"),
        ("critical-ranks", {"id": 1, "ranks": "0"}, "not running"),
        ("expiration", {"id": 1, "expiration": -1}, "0 or more"),
        ("override", {"event": "start", "jobid": 1}, "not running"),
    ],
)
def test_requests_about_jobs_that_do_not_run_are_refused(
    here: Instance, topic: str, payload: dict[str, Any], text: str
) -> None:
    with pytest.raises(FluxError, match=text):
        here.handle().rpc(f"job-exec.{topic}", payload).get()


def test_a_running_job_knows_its_critical_ranks(here: Instance) -> None:
    jobid = submit(here, "-N2", "sleep", "300")
    wait(here, jobid, "start")
    handle = here.handle()
    with pytest.raises(FluxError, match="the job has 2 shells"):
        handle.rpc("job-exec.critical-ranks", {"id": int(jobid), "ranks": "0-7"}).get()
    handle.rpc("job-exec.critical-ranks", {"id": int(jobid), "ranks": "0"}).get()
    with pytest.raises(FluxError, match="no test job"):
        handle.rpc("job-exec.override", {"event": "start", "jobid": int(jobid)}).get()
    assert here.run("flux", "cancel", str(jobid)).returncode == 0
    wait(here, jobid)


def test_running_jobs_outlive_the_execution_service(here: Instance, tmp_path: Any) -> None:
    script = f'echo before; until test -e {tmp_path}/end; do sleep 0.1; done; test "$FLUX_TASK_RANK" = 0 && exit 3'
    jobid = submit(here, "-N2", "-n2", "sh", "-c", script)
    played = submit(here, "--setattr=system.exec.test.override=1", "x")
    doomed = submit(here, "sleep", "300")
    for running in (jobid, doomed):
        wait(here, running, "start")
    for _ in range(2):
        assert here.run("flux", "module", "reload", "job-exec").returncode == 0
    assert here.run("flux", "cancel", str(doomed)).returncode == 0
    wait(here, doomed)
    assert shown(here, doomed, "waitstatus")["waitstatus"] == 143 << 8
    wait(here, submit(here, "true"))
    for event in ("start", "finish"):
        wait_for(lambda event=event: override(here, played, event), what=event)
    wait(here, played)
    (tmp_path / "end").touch()
    wait(here, jobid)
    job = shown(here, jobid, "waitstatus", "exception_occurred")
    assert (job["waitstatus"], job["exception_occurred"]) == (3 << 8, False)
    assert here.run("flux", "job", "attach", str(jobid)).stdout == "before\nbefore\n"
    names = [event.name for event in guest_events(here, jobid)]
    assert names[0] == "init" and names[-1] == "done"
    assert (names.count("shell-exit"), names.count("complete")) == (2, 1)
    wait_for(lambda: not here.handle().rpc("rexec.list", nodeid=1).get()["procs"], what="shell of rank 1 gone")


def override(here: Instance, jobid: JobID, event: str) -> bool:
    """Tell a test job to go on; False when the service does not know it yet."""
    return here.run("flux", "job-exec-override", event, str(jobid), *["0"] * (event == "finish")).returncode == 0


# -- job-list


def test_a_reloaded_list_shows_what_was(here: Instance) -> None:
    jobid = submit(here, "--job-name=before", "true")
    wait(here, jobid)
    assert here.run("flux", "module", "reload", "job-list").returncode == 0
    assert shown(here, jobid, "name", "success") == {"id": int(jobid), "name": "before", "success": True}


def test_jobs_are_listed_one_by_one_or_all_at_once(here: Instance) -> None:
    wait(here, submit(here, "--job-name=listed", "true"))
    wait(here, submit(here, "--job-name=listed", "true"))
    request = {"max_entries": 0, "attrs": ["name"], "constraint": {"name": ["listed"]}}
    handle = here.handle()
    assert len(handle.rpc("job-list.list", request).get()["jobs"]) == 2
    streamed = list(handle.rpc("job-list.list", request, flags=FLAG_STREAMING))
    assert [len(response["jobs"]) for response in streamed] == [1, 1]
    assert [response.get("version") for response in streamed] == [1, None]
    assert list(handle.rpc("job-list.list", {**request, "max_entries": 1}, flags=FLAG_STREAMING)) == streamed[:1]


def test_a_query_may_wait_for_a_state(here: Instance) -> None:
    jobid = submit(here, "--setattr=system.exec.test.override=1", "x")
    handle = here.handle()
    waiting = handle.rpc("job-list.list-id", {"id": int(jobid), "attrs": ["state"], "state": 64})
    wait(here, jobid, "alloc")
    assert not waiting.is_ready()
    assert here.run("flux", "cancel", str(jobid)).returncode == 0
    assert waiting.get()["job"]["state"] == 64


def test_unknown_jobs_and_attributes_are_refused(here: Instance) -> None:
    handle = here.handle()
    with pytest.raises(FileNotFoundError):
        handle.rpc("job-list.list-id", {"id": 12345, "attrs": []}).get()
    with pytest.raises(FluxError, match="colour is not a valid attribute"):
        handle.rpc("job-list.list", {"max_entries": 0, "attrs": ["colour"]}).get()
    with pytest.raises(FluxError, match="invalid payload"):
        handle.rpc("job-list.list", {"max_entries": -1, "attrs": []}).get()
    with pytest.raises(FluxError, match="unknown constraint operator: x"):
        handle.rpc("job-list.list", {"max_entries": 0, "attrs": [], "constraint": {"x": []}}).get()


def test_statistics_are_streamed_as_they_change(here: Instance) -> None:
    stats = here.handle().rpc("job-list.job-stats", flags=FLAG_STREAMING)
    before = stats.get()["job_states"]["inactive"]
    stats.reset()
    submitting = threading.Thread(target=lambda: wait(here, submit(here, "true")))
    submitting.start()
    while stats.get()["job_states"]["inactive"] == before:
        stats.reset()
    submitting.join()
    stats.cancel()
    assert "all" in here.handle().rpc("job-list.list-attrs").get()["attrs"]


def test_a_job_ends_without_a_timeout_when_one_of_its_brokers_dies(tmp_path: Any) -> None:
    (tmp_path / "exec.toml").write_text('[exec]\nkill-timeout = "10m"\n')
    with Instance(3, args=["--test-exit-mode=leader", f"--config-path={tmp_path}"]) as doomed:
        jobid = submit(doomed, "-N3", "-n3", "sleep", "300")
        wait(doomed, jobid, "start")
        os.kill(doomed.broker_pid(2), signal.SIGKILL)
        wait(doomed, jobid)
        job = shown(doomed, jobid, "exception_type", "exception_note")
        assert job["exception_type"] == "node-failure" and "rank 2" in job["exception_note"]
        status = doomed.handle().rpc("sched.resource-status").get()
        assert status["down"]["execution"]["R_lite"][0]["rank"] == "2"
        assert status["allocated"]["execution"]["R_lite"] == []
