"""The users' job API in a running instance (manual pages flux.job.*)."""

from __future__ import annotations

import concurrent.futures
import errno
import threading
from typing import Any

import pytest

import flux.job
from flux.errors import FluxError
from flux.job import FluxExecutor, JobException, JobspecV1
from flux.testing import Instance


def shell(script: str) -> JobspecV1:
    return JobspecV1.from_command(["sh", "-c", script])


def test_waitable_job(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("exit 0"), waitable=True)
    assert flux.job.wait(handle, jobid)[:2] == (jobid, True)
    failed = flux.job.wait(handle, flux.job.submit(handle, shell("exit 7"), waitable=True))
    assert not failed.success
    assert "7" in failed.errstr
    with pytest.raises(FluxError) as gone:
        flux.job.wait(handle)
    assert gone.value.errno == errno.ECHILD


def test_result_of_any_job(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("exit 4"))
    info = flux.job.result(handle, jobid)
    assert (info.id, info.result, info.returncode) == (jobid, "FAILED", 4)
    assert flux.job.result_async(handle, jobid).get_dict()["waitstatus"] == 4 << 8


def test_refused_job(handle: Any) -> None:
    future = flux.job.submit_async(handle, '{"version": 1}')
    with pytest.raises(FluxError, match="Missing key") as refused:
        future.get_id()
    assert refused.value.errno == errno.EINVAL


def test_events_and_their_end(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("true"))
    names = [event.name for event in flux.job.event_watch(handle, jobid)]
    assert (names[0], names[-1]) == ("submit", "clean")
    assert flux.job.event_wait(handle, jobid, "finish").context == {"status": 0}
    with pytest.raises(FluxError) as never:
        flux.job.event_wait(handle, jobid, "nothing")
    assert never.value.errno == errno.ENODATA
    watch = flux.job.event_watch_async(handle, jobid, "guest.exec.eventlog")
    first, again, second = watch.get_event(autoreset=False), watch.get_event(), watch.get_event()
    assert first is not None and again is not None and second is not None
    assert (first.name, again.name, second.name) == ("init", "init", "starting")


def test_cancel_raises_in_who_waits(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("sleep 60"))
    flux.job.event_wait(handle, jobid, "start")
    flux.job.cancel(handle, jobid, "enough")
    with pytest.raises(JobException, match="enough") as canceled:
        flux.job.event_wait(handle, jobid, "finish")
    assert (canceled.value.type, canceled.value.severity) == ("cancel", 0)
    with pytest.raises(FluxError):
        flux.job.kill(handle, flux.job.JobID(1))


def test_lists_and_stats(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("true"))
    info = flux.job.job_list_id(handle, jobid, state=64).get_jobinfo()
    assert (info.id, info.status) == (jobid, "COMPLETED")
    jobs = flux.job.JobList(handle, filters=["completed"], max_entries=5)
    assert jobid in [job.id for job in jobs.jobs()]
    by_id = flux.job.JobList(handle, ids=[jobid, "f1234"])
    assert [job.id for job in by_id.jobs()] == [jobid]
    assert by_id.errors == ["f1234: unknown job id"]
    assert jobid in [job["id"] for job in flux.job.job_list_inactive(handle).get_jobs()]
    stats = flux.job.JobStats(handle)
    stats.update_sync()
    assert stats.successful >= 1
    assert stats.active == stats.pending + stats.running


def test_stats_update_calls_back(handle: Any) -> None:
    seen: list[tuple[Any, str]] = []
    stats = flux.job.JobStats(handle)
    stats.update(lambda found, word: seen.append((found, word)), word="x")
    handle.reactor_run()
    assert seen == [(stats, "x")]


def test_kvs_directories(handle: Any) -> None:
    jobid = flux.job.submit(handle, shell("true"))
    flux.job.result(handle, jobid)
    assert {"J", "R", "eventlog", "jobspec"} <= set(flux.job.job_kvs(handle, jobid))
    assert "output" in flux.job.job_kvs_guest(handle, jobid)


def test_executor_follows_jobs(running: Instance) -> None:
    seen: list[tuple[int, str]] = []
    with FluxExecutor(threads=2, handle_args=(running.uri,)) as executor:
        futures = [executor.submit(shell(f"exit {code % 3}")) for code in range(9)]
        futures[0].add_event_callback("start", lambda future, event: seen.append((future.jobid(), event.name)))
        submitted: list[int] = []
        futures[1].add_jobid_callback(lambda future: submitted.append(future.jobid()))
        attached = executor.attach(futures[2].jobid(timeout=30))
        killed = executor.submit(shell("kill -9 $$"))
        assert [future.result(30) for future in futures] == [0, 1, 2] * 3
        assert (attached.result(30), attached.jobid()) == (2, futures[2].jobid())
        assert killed.result(30) == 137
        futures[1].add_jobid_callback(lambda future: submitted.append(future.jobid()))
        assert submitted == [futures[1].jobid()] * 2
        with pytest.raises(ValueError, match="no job"):
            executor.attach(1).result(30)
    assert seen == [(futures[0].jobid(), "start")]
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(shell("true"))


def test_executor_tells_what_went_wrong(running: Instance) -> None:
    with FluxExecutor(handle_args=(running.uri,)) as executor:
        refused = executor.submit("{}")
        with pytest.raises(RuntimeError, match="not submitted"):
            refused.jobid(30)
        assert isinstance(refused.exception(), OSError)
        too_big = executor.submit(JobspecV1.from_command(["true"], num_tasks=9, num_nodes=9))
        assert isinstance(too_big.exception(30), JobException)
        with pytest.raises(ValueError, match="no event 'begin'"):
            too_big.add_event_callback("begin", print)
        canceled = executor.submit(shell("sleep 60"))
        flux.job.cancel(running.handle(), canceled.jobid(30))
        with pytest.raises(JobException, match="cancel"):
            canceled.result(30)


def test_executor_without_an_instance() -> None:
    executor = FluxExecutor(handle_args=("local:///nonexistent/socket",))
    with pytest.raises((FluxError, RuntimeError)):
        executor.submit(shell("true")).result(30)
    executor.shutdown()


def test_future_that_was_canceled_first() -> None:
    future = flux.job.FluxExecutorFuture(threading.get_ident())
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.jobid()
