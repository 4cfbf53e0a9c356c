"""Several jobs followed by one program (flux.job.JobWatcher)."""

from __future__ import annotations

import io
from typing import Any

import pytest

import flux.job
from flux.job import JobspecV1, JobWatcher
from flux.job.watcher import JobProgressBar, JobStatus


def submitted(handle: Any, script: str, **options: Any) -> Any:
    return flux.job.submit(handle, JobspecV1.from_command(["sh", "-c", script], **options))


def followed(handle: Any, *jobs: int, **options: Any) -> tuple[JobWatcher, str, str]:
    """A watcher that has followed jobs, and what it wrote."""
    out, err = io.StringIO(), io.StringIO()
    watcher = JobWatcher(handle, stdout=out, stderr=err, **options)
    for job in jobs:
        watcher.add_jobid(job)
    handle.reactor_run()
    return watcher, out.getvalue(), err.getvalue()


def test_output_and_exit_codes(handle: Any) -> None:
    jobs = [submitted(handle, "echo one; echo err >&2"), submitted(handle, "echo two; exit 7")]
    watcher, out, err = followed(handle, *jobs, labelio=True, log_status=True)
    assert sorted(out.splitlines()) == sorted([f"{jobs[0]}: 0: one", f"{jobs[1]}: 0: two"])
    assert f"{jobs[0]}: 0: err" in err
    assert "complete: status=0" in err
    assert "failed: status=1792" in err
    assert watcher.exitcode == 7
    counts = watcher.progress
    assert (counts.count, counts.total, counts.complete, counts.failed, counts.running) == (2, 2, 1, 1, 0)


def test_events(handle: Any) -> None:
    job = submitted(handle, "true")
    _, out, err = followed(handle, job, log_events=True, watch=False)
    names = [line.split()[2] for line in err.splitlines()]
    assert (out, names[0], names[-1], "exec.shell.init" in names) == ("", "submit", "clean", True)
    assert err.splitlines()[0].split()[1] == "0.000s:"


@pytest.mark.parametrize("event", ["alloc", "exec.shell.start"])
def test_only_to_an_event(handle: Any, event: str) -> None:
    job = submitted(handle, "sleep 300")
    watcher, _, _ = followed(handle, job, wait=event, watch=False)
    assert (watcher.progress.count, watcher.progress.running) == (1, 1)
    flux.job.cancel(handle, job)


def test_a_job_that_never_starts(handle: Any) -> None:
    watcher, _, err = followed(handle, submitted(handle, "true", num_tasks=100000))
    assert watcher.exitcode == 1
    assert "job.exception: type=alloc severity=0" in err
    assert watcher.progress.failed == 1


def test_jobs_that_have_ended_and_a_callback(handle: Any) -> None:
    job = submitted(handle, "echo old")
    flux.job.event_wait(handle, job, "clean")
    got: list[Any] = []
    info = flux.job.JobList(handle, ids=[job]).jobs()[0]
    JobWatcher(handle, [info], output_callback=lambda *args: got.append(args))
    handle.reactor_run()
    assert got == [(job, "stdout", "old\n"), (job, None, None)]
    assert (JobStatus(info).status, JobStatus(info).active) == ("complete", False)


def test_a_bar_at_the_bottom(handle: Any, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = JobWatcher(handle, progress=True, jps=True, stdout=io.StringIO()).start()
    watcher.add_jobid(submitted(handle, "printf 'a\\033[2Jb'"))
    handle.reactor_run()
    watcher.stop()
    assert isinstance(watcher.stdout, io.StringIO)
    assert watcher.stdout.getvalue() == "ab"
    shown = capsys.readouterr().out
    assert "PD:0   R:0   CD:1   F:0" in shown.rpartition("\033")[2]
    assert "100.0%" in shown
    assert "job/s" in shown


def test_a_bar_takes_jobs_once(handle: Any) -> None:
    job = submitted(handle, "true")
    flux.job.event_wait(handle, job, "clean")
    info = flux.job.JobList(handle, ids=[job]).jobs()[0]
    bar = JobProgressBar(handle)
    bar.add_jobs(info)
    with pytest.raises(ValueError, match="already"):
        bar.add_job(info)
    with pytest.raises(ValueError, match="JobInfo"):
        bar.add_job(job)
