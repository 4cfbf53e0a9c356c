"""A full disk does not lose jobs: new ones are refused, those that run are kept in memory (docs/promises.md)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flux.content import store_async
from flux.job import JobID
from flux.testing import Instance, wait_for


def full(handle: Any) -> bool:
    return bool(handle.rpc("content.stats-get", nodeid=0).get()["full"])


def fill(disk: Path, handle: Any) -> Path:
    ballast = disk / "ballast"
    with pytest.raises(OSError), ballast.open("wb") as file:
        while file.write(b"x" * 65536):
            file.flush()
    store_async(handle, os.urandom(1 << 20)).get()
    handle.rpc("content.flush").get()  # the reserve takes it
    wait_for(lambda: full(handle), what="a full store")
    return ballast


def events(running: Instance, jobid: str) -> list[str]:
    return [line.split()[1] for line in running.run("flux", "job", "eventlog", jobid, check=True).stdout.splitlines()]


def test_jobs_outlast_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    attrs = {"statedir": str(small_disk)}
    go = tmp_path / "go"
    with Instance(1, attrs=attrs) as running:
        handle = running.handle()
        script = f"while ! test -e {go}; do sleep 0.05; done; echo finished"
        jobid = running.run("flux", "submit", "sh", "-c", script, check=True).stdout.strip()
        running.run("flux", "job", "wait-event", jobid, "start", check=True)
        ballast = fill(small_disk, handle)
        refused = running.run("flux", "submit", "true")
        assert refused.returncode == 1
        assert "no space left" in refused.stderr
        assert "read-only" in running.run("flux", "uptime", check=True).stdout
        go.touch()  # the shell keeps what it has to write
        note = {"id": int(JobID(jobid)), "severity": 7, "type": "note", "note": "written later"}
        raised = handle.rpc("job-manager.raise", note)
        wait_for(lambda: handle.rpc("job-manager.stats-get").get()["eventlog"]["full"], what="events that wait")
        assert {"finish", "exception"}.isdisjoint(events(running, jobid))
        ballast.unlink()
        raised.get()
        wait_for(lambda: "clean" in events(running, jobid), what="the end of the job")
        assert "exception" in events(running, jobid)
        assert running.run("flux", "run", "echo", "again", check=True).stdout == "again\n"
        assert "read-only" not in running.run("flux", "uptime", check=True).stdout
        assert running.run("flux", "job", "attach", jobid, check=True).stdout == "finished\n"
    with Instance(1, attrs=attrs) as again:
        done = again.run("flux", "job", "attach", jobid)
        assert (done.returncode, done.stdout) == (0, "finished\n"), done.stderr


def test_an_instance_ends_although_the_disk_is_full(small_disk: Path, tmp_path: Path) -> None:
    with Instance(1, attrs={"statedir": str(small_disk)}) as running:
        handle = running.handle()
        jobid = running.run("flux", "submit", "sleep", "inf", check=True).stdout.strip()
        running.run("flux", "job", "wait-event", jobid, "start", check=True)
        fill(small_disk, handle)
