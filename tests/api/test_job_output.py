"""A job's output for programs (flux.job.output_watch, flux.job.job_output)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

import flux.job
from flux.errors import FluxError
from flux.job import JobException, JobspecV1
from flux.job.output import JobExceptionEvent, OutputEvent, OutputHeaderEvent, output_event_watch


def submitted(handle: Any, *words: str, **options: Any) -> int:
    return int(flux.job.submit(handle, JobspecV1.from_command(list(words), **options)))


def test_output_of_a_job(handle: Any) -> None:
    jobid = submitted(handle, "sh", "-c", "echo a; echo b >&2; printf c")
    watched = list(flux.job.output_watch(handle, jobid))
    assert "".join(text for stream, text in watched if stream == "stdout") == "a\nc"
    assert ("stderr", "b\n") in watched
    assert ("stdout", "0: a") in list(flux.job.output_watch_lines(handle, jobid, labelio=True))
    assert ("stdout", "a\n") in list(flux.job.output_watch_lines(handle, jobid, keepends=True))
    assert flux.job.job_output(handle, jobid) == ("a\nc", "b\n", "")
    assert flux.job.job_output(handle, jobid, labelio=True, nowait=True).stdout == "0: a\n0: c\n"
    assert flux.job.job_output(handle, jobid, tasks="7").stdout == ""


def test_log_lines_and_redirection(handle: Any, tmp_path: Path) -> None:
    failed = submitted(handle, "nosuchprogram")
    assert "FATAL: task 0" in flux.job.job_output(handle, failed).stderr
    apart = flux.job.job_output(handle, failed, log_stderr_level=-1)
    assert (apart.stderr, "FATAL: task 0" in apart.log) == ("", True)
    path = tmp_path / "out"
    jobspec = JobspecV1.from_command(["echo", "hi"])
    jobspec.stdout = str(path)
    redirected = flux.job.submit(handle, jobspec)
    assert ("stderr", f"0: stdout redirected to {path}") in list(flux.job.output_watch_lines(handle, redirected))
    assert flux.job.job_output(handle, redirected) == ("", "", "")


def test_output_of_several_jobs_by_callbacks(handle: Any) -> None:
    got: dict[int, list[Any]] = {}

    def on_output(watch: Any, key: int) -> None:
        got.setdefault(key, []).append(watch.get_output())

    def on_line(watch: Any, key: int) -> None:
        got.setdefault(key, []).append(watch.getline())

    first, second = (submitted(handle, "printf", f"{name}\n{name}\n") for name in "ab")
    flux.job.output_watch_async(handle, first).then(on_output, first)
    flux.job.output_watch_lines_async(handle, second, labelio=True).then(on_line, second)
    handle.reactor_run()
    assert "".join(text or "" for _stream, text in got[first]) == "a\na\n"
    assert got[second] == [("stdout", "0: b"), ("stdout", "0: b"), (None, None)]
    assert got[first][-1] == (None, None)


def test_output_events(handle: Any) -> None:
    jobid = submitted(handle, "sh", "-c", "echo out; exec sleep 300")
    events = []
    for event in output_event_watch(handle, jobid):
        events.append(event)
        if isinstance(event, OutputEvent) and event.data:
            flux.job.job_raise(handle, jobid, "test", 2, "note")
            flux.job.job_raise(handle, jobid, "enough")
    (data,) = [event for event in events if isinstance(event, OutputEvent) and event.data]
    assert (data.stream, str(data.rank), data.data, data.eof) == ("stdout", "0", "out\n", False)
    assert any(isinstance(event, OutputHeaderEvent) for event in events)
    raised = [event.render() for event in events if isinstance(event, JobExceptionEvent)]
    assert raised == ["job.exception: type=test severity=2 note", "job.exception: type=enough severity=0"]


def test_a_watch_that_is_stopped_calls_back_no_more(handle: Any) -> None:
    jobid = submitted(handle, "sh", "-c", "echo ready; sleep 300")
    got: list[Any] = []

    def on_output(watch: Any) -> None:
        got.append(watch.get_output())
        watch.cancel(stop=True)

    flux.job.output_watch_async(handle, jobid).then(on_output)
    handle.reactor_run()
    assert got == [("stdout", "ready\n")]
    flux.job.job_raise(handle, jobid, "enough", note="of it")
    with pytest.raises(JobException, match="enough"):
        flux.job.event_wait(handle, jobid, "finish")


def test_a_job_that_never_started(handle: Any) -> None:
    jobid = submitted(handle, "true", num_tasks=100000)
    seen: list[Any] = []
    with pytest.raises(FluxError, match="never started") as caught:
        seen.extend(flux.job.output_watch(handle, jobid))
    assert caught.value.errno == errno.EIO
    with pytest.raises(JobException):
        flux.job.job_output(handle, jobid)
    with pytest.raises(FileNotFoundError):
        flux.job.job_output(handle, jobid, nowait=True)
    with pytest.raises(FileNotFoundError):
        flux.job.job_output(handle, 1)
    with pytest.raises(FileNotFoundError, match="not found"):
        list(flux.job.output_watch(handle, 1))
