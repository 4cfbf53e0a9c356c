"""`flux queue` and `flux update`: queues opened and closed, jobs moved and given more time (flux-queue(1))."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from flux.errors import FluxError
from flux.queue import QueueList
from flux.testing import Instance, wait_for

CONFIG = """
[policy.limits]
duration = "4h"
job-size.max.nnodes = 8
[policy.jobspec.defaults.system]
queue = "batch"
[queues.batch]
[queues.debug]
policy.limits.duration = "30m"
policy.limits.job-size.min.ncores = 2
[queues.express]
parent = "batch"
policy.limits.duration = "1h"
"""
Run = Callable[..., CompletedProcess[str]]
OPEN = ("enable", "--all"), ("start", "--all")


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance], tmp_path_factory: Any) -> Instance:
    file = tmp_path_factory.mktemp("queues") / "conf.toml"
    file.write_text(CONFIG)
    return flux_instance(1, args=[f"--config-path={file}"])


@pytest.fixture
def run(instance: Instance) -> Run:
    for words in OPEN:
        assert instance.run("flux", "queue", *words, "--quiet").returncode == 0
    return lambda *words, **options: instance.run("flux", *words, **options)


def submit(run: Run, *words: str) -> str:
    found = run("submit", "-qbatch", "-t1m", *words)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_queues_are_listed_with_what_holds_for_each(run: Run) -> None:
    fields = "{queuem} {parent} {submission} {scheduling} {defaults.timelimit!F} {limits.timelimit!F} "
    fields += "{limits.range.nnodes} {limits.range.effective.nnodes} {limits.min.ncores} {resources.free.nnodes}"
    assert run("queue", "list", "-no", fields).stdout.splitlines() == [
        "batch*  enabled started inf 4h 0-8 0-1 0 1",
        "debug  enabled started inf 30m 0-8 0-1 2 1",
        "express batch enabled started inf 1h 0-8 0-1 0 1",
    ]
    assert run("queue", "list", "-qdebug,batch", "-no", "{queue} {enabled.ascii}").stdout == "debug y\nbatch y\n"


def test_formats_have_names_and_leave_out_empty_columns(run: Run) -> None:
    heads = run("queue", "list").stdout.splitlines()[0].split()
    assert heads == "QUEUE PARENT EN ST TDEFAULT TLIMIT NNODES NCORES NGPUS".split()
    assert "PARENT" not in run("queue", "list", "-qbatch").stdout
    assert "NODES:FREE" in run("queue", "list", "-o", "nodes").stdout
    assert "Show queue status plus" in run("queue", "list", "-o", "help").stdout
    default = run("queue", "list", "-n", env={"FLUX_QUEUE_LIST_FORMAT_DEFAULT": "{queue}"})
    assert default.stdout == "batch\ndebug\nexpress\n"


def test_a_virtual_queue_is_paused_with_its_parent(run: Run) -> None:
    stopped = run("queue", "stop", "-m", "for a reason", "batch")
    assert stopped.stdout == "batch: Scheduling is stopped: for a reason\n"
    assert run("queue", "status", "express").stdout == (
        "express: Job submission is enabled\nexpress: Scheduling is stopped: parent queue 'batch' is stopped\n"
    )
    fields = "{scheduling} {started.ascii}"
    assert run("queue", "list", "-qexpress", "-no", fields).stdout == "stopped (parent) p\n"


def test_a_queue_is_closed_to_new_jobs_with_a_reason(run: Run) -> None:
    assert run("queue", "disable", "debug").stdout == "debug: Job submission is disabled: disabled by administrator\n"
    refused = run("submit", "-qdebug", "-n2", "true")
    assert "job submission to debug is disabled: disabled by administrator" in refused.stderr
    assert run("queue", "enable", "-q", "debug").stdout == "debug: Job submission is enabled\n"


def test_verbose_tells_of_waiting_jobs(run: Run) -> None:
    lines = run("queue", "start", "-av").stdout.splitlines()
    assert lines[:3] == [f"{name}: Scheduling is started" for name in ("batch", "debug", "express")]
    assert lines[3:] == ["0 alloc requests queued", "0 alloc requests pending to scheduler", "0 running jobs"]


def test_drain_and_idle_wait_for_jobs(run: Run) -> None:
    held = submit(run, "--urgency=0", "true")
    assert run("queue", "idle").stdout == "1 jobs\n"
    late = run("queue", "drain", "--timeout=0.1s")
    assert (late.returncode, late.stderr) == (1, "flux-queue: drain: timeout\n")
    run("cancel", held)
    assert run("queue", "drain").returncode == 0
    assert run("queue", "idle", "--quiet").stdout == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("stop", "Named queues are defined. Specify queues or use --all."),
        ("status nope", "status: 'nope' is not a valid queue"),
        ("start nope", "start: 'nope' is not a valid queue"),
        ("stop nope", "stop: 'nope' is not a valid queue"),
        ("start -q batch debug", "Conflicting queues specified as --queue=batch and debug"),
        ("list -q nope", "No such queue: nope; there are batch, debug, express"),
        ("list -o {zzz}", "Unknown format field: zzz"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, words: str, why: str) -> None:
    refused = run("queue", *words.split())
    assert (refused.returncode, refused.stderr) == (1, f"flux-queue: {why}\n")


def test_the_library_knows_the_queues(instance: Instance, run: Run) -> None:
    queues = QueueList(instance.handle())
    assert [queue.name for queue in queues] == ["batch", "debug", "express"]
    assert queues["batch"].is_default and queues.express.parent == "batch"
    assert queues.debug.limits.duration == 1800.0 and queues.debug.limits.max.nnodes == 8
    assert queues.batch.resources.all.nnodes == 1
    with pytest.raises(ValueError, match="No such queue: nope"):
        QueueList(instance.handle(), ["nope"])


# -- update


def test_an_update_can_be_shown_before_it_is_made(run: Run) -> None:
    jobid = submit(run, "--urgency=0", "-t10m", "true")
    shown = run("update", "-n", jobid, "duration=+1m", "name=foo", "x.y=3", "attributes.foo=bar")
    assert json.loads(shown.stdout) == {
        "attributes.system.duration": 660.0,
        "attributes.system.job.name": "foo",
        "attributes.system.x.y": 3,
        "attributes.foo": "bar",
    }
    run("cancel", jobid)


def test_a_pending_job_gets_another_duration_and_another_queue(run: Run) -> None:
    jobid = submit(run, "--urgency=0", "-t10m", "-n2", "true")
    updated = run("update", "-v", "--wait", jobid, "duration=20m")
    assert updated.stderr == "flux-update: INFO: updated attributes.system.duration to 1200.0\n"
    assert run("update", jobid, "queue=debug").returncode == 0
    assert 'attributes.system.queue="debug"' in run("job", "eventlog", jobid).stdout
    again = run("update", jobid, "queue=debug")
    assert again.stderr == "flux-update: job queue is already set to debug\n"
    run("cancel", jobid)


@pytest.mark.parametrize(
    ("update", "why"),
    [
        ("queue=debug", "requested ncores (1) is under policy limit of 2 for queue debug"),
        ("queue=nope", "'nope' is not a valid queue"),
        ("foo=1", "update of attributes.system.foo not supported"),
        ("tasks.x=1", "update of tasks.x not supported"),
        ("duration=-20m", "current duration for {} (10m) cannot be reduced by 20m"),
    ],
)
def test_an_update_that_must_not_be_is_refused(run: Run, update: str, why: str) -> None:
    jobid = submit(run, "--urgency=0", "-t10m", "true")
    refused = run("update", jobid, update)
    assert (refused.returncode, refused.stderr) == (1, f"flux-update: {why.format(jobid)}\n")
    run("cancel", jobid)


def test_exit_codes_of_update_tell_syntax_from_refusal(run: Run) -> None:
    assert run("update", "f1").returncode == 2
    assert run("update", "nope", "duration=1m").returncode == 2
    unknown = run("update", "f1", "duration=1m")
    assert (unknown.returncode, unknown.stderr) == (1, "flux-update: unknown job id\n")


def test_the_time_of_a_running_job_is_extended(run: Run, instance: Instance) -> None:
    jobid = submit(run, "-t10m", "sleep", "600")
    assert run("job", "wait-event", "-t60", jobid, "start").returncode == 0
    assert run("update", jobid, "duration=+1h").returncode == 0
    events = [json.loads(line) for line in run("job", "eventlog", "-fjson", jobid).stdout.splitlines()]
    assert [event["name"] for event in events[-2:]] == ["jobspec-update", "resource-update"]
    (alloc,) = [event for event in events if event["name"] == "alloc"]
    expiration = events[-1]["context"]["expiration"]
    assert 4190 < expiration - alloc["timestamp"] < 4210
    number = int(run("job", "id", "--to=dec", jobid).stdout)
    told = instance.handle().rpc("job-exec.stats-get").get()["jobs"]
    assert [job["expiration"] for job in told.values()] == [expiration] and len(told) == 1, (told, number)

    assert "places job expiration in the past" in run("update", jobid, "duration=0.001").stderr
    assert "update of queue for running job not supported" in run("update", jobid, "queue=debug").stderr
    run("cancel", jobid)
    run("job", "wait-event", "-t60", jobid, "clean")
    assert run("update", jobid, "duration=1m").stderr == "flux-update: job is inactive\n"


def test_the_owner_goes_beyond_limits(run: Run) -> None:
    jobid = submit(run, "--urgency=0", "-t10m", "true")
    assert run("update", jobid, "duration=20h").returncode == 0
    run("cancel", jobid)


# -- post-job-event


def test_the_owner_adds_events_that_change_nothing(run: Run) -> None:
    jobid = submit(run, "--urgency=0", "true")
    assert run("post-job-event", jobid, "foo", "a=b", "c.d=1").returncode == 0
    assert 'foo a="b" c={"d":1}' in run("job", "eventlog", jobid).stdout
    refused = run("post-job-event", jobid, "finish", "status=0")
    assert "finish changes what the job is" in refused.stderr
    run("cancel", jobid)
    run("job", "wait-event", "-t60", jobid, "clean")
    assert run("post-job-event", jobid, "foo").stderr == f"flux-post-job-event: No such job {jobid}\n"
    assert run("post-job-event", "f1", "foo").stderr == "flux-post-job-event: No such job f1\n"


# -- inactive jobs


def test_inactive_jobs_are_kept_as_configured(run: Run, instance: Instance) -> None:
    handle = instance.handle()
    conf = handle.rpc("config.get").get()
    for _ in range(3):
        assert run("run", "-qbatch", "-t1m", "true").returncode == 0
    handle.rpc(
        "job-manager.config-reload", {**conf, "job-manager": {"inactive-num-limit": 1, "inactive-age-limit": "1h"}}
    ).get()
    inactive = lambda: handle.rpc("job-manager.stats-get").get()["inactive_jobs"]  # noqa: E731
    wait_for(lambda: inactive() == 1, what="one job to be left")
    assert run("run", "-qbatch", "-t1m", "true").returncode == 0
    wait_for(lambda: inactive() == 1, what="one job to be left again")
    handle.rpc("job-manager.config-reload", {**conf, "job-manager": {"inactive-age-limit": "0.01s"}}).get()
    wait_for(lambda: inactive() == 0, what="no job to be left")
    with pytest.raises(FluxError, match="inactive-num-limit"):
        handle.rpc("job-manager.config-reload", {**conf, "job-manager": {"inactive-num-limit": -1}}).get()
    handle.rpc("job-manager.config-reload", conf).get()


def test_purge_checks_what_it_is_asked(instance: Instance) -> None:
    handle = instance.handle()
    fine = {"age_limit": -1.0, "num_limit": -1, "batch": 1, "force": False}
    assert handle.rpc("job-manager.purge", fine).get() == {"count": 0}
    for wrong, why in (
        ({"age_limit": -2.0}, "age limit"),
        ({"num_limit": -2}, "num limit"),
        ({"batch": 101}, "batch must be >= 1 and <= 100"),
    ):
        with pytest.raises(FluxError, match=why):
            handle.rpc("job-manager.purge", fine | wrong).get()
