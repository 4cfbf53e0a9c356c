"""Recorded jobs, out of an events journal, a job archive or a dump of the key-value store (flux-jobtap(1), test)."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from flux.errors import FluxError
from flux.job.fluid import decode

__all__ = ["Recorded", "read"]

_decode = msgspec.json.decode
_PARTS = ("eventlog", "jobspec", "R")


class Recorded(NamedTuple):
    """A job that was. events: its eventlog. R: None when it never had resources."""

    id: int
    jobspec: dict[str, Any]
    events: list[dict[str, Any]]
    R: dict[str, Any] | None


def read(path: str) -> list[Recorded]:
    """The jobs of a file, in order of their submission.

    A journal has an object per line, as `job-manager.events-journal` sends them: id, events, jobspec?, R?.

    Raises:
        FluxError: EINVAL when the file holds no recorded jobs. OSError when it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    try:
        if head.startswith(b"SQLite format 3"):
            jobs = list(_archived(path))
        elif tarfile.is_tarfile(path):
            jobs = list(_dumped(path))
        else:
            jobs = list(_journaled(path))
    except (msgspec.DecodeError, sqlite3.Error, tarfile.TarError, KeyError, TypeError, ValueError) as exc:
        text = f"{path} is no events journal, job archive or dump: {type(exc).__name__}: {exc}"
        raise FluxError(22, text) from None
    jobs = [job for job in jobs if job.events]
    if not jobs:
        raise FluxError(22, f"{path} has no jobs in it")
    return sorted(jobs, key=lambda job: (job.events[0]["timestamp"], job.id))


def _events(text: str | bytes) -> list[dict[str, Any]]:
    return [_decode(line) for line in text.splitlines() if line.strip()]


def _archived(path: str) -> Iterator[Recorded]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        for jobid, log, jobspec, R in database.execute("SELECT id, eventlog, jobspec, R FROM jobs"):
            yield Recorded(int(jobid), _decode(jobspec), _events(log), _decode(R) if R else None)
    database.close()


def _dumped(path: str) -> Iterator[Recorded]:
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and parts[0] == "job" and len(parts) == 6 and parts[5] in _PARTS:
                file = archive.extractfile(member)
                assert file is not None
                found.setdefault(".".join(parts[:5]), {})[parts[5]] = file.read()
    for key, job in found.items():
        if "eventlog" in job and "jobspec" in job:
            R = _decode(job["R"]) if "R" in job else None
            yield Recorded(decode(key), _decode(job["jobspec"]), _events(job["eventlog"]), R)


def _journaled(path: str) -> Iterator[Recorded]:
    found: dict[int, dict[str, Any]] = {}
    with open(path, "rb") as file:
        for line in file:
            entry = _decode(line) if line.strip() else {"id": -1}
            if entry["id"] == -1:
                continue
            job = found.setdefault(entry["id"], {"events": [], "jobspec": None, "R": None})
            job["events"] += [event for event in entry["events"] if event["name"] not in ("annotations",)]
            job["jobspec"] = job["jobspec"] or entry.get("jobspec")
            job["R"] = entry.get("R") or job["R"]
    for jobid, job in found.items():
        if job["jobspec"] is not None:
            yield Recorded(jobid, job["jobspec"], job["events"], job["R"])
