"""What a job writes, for programs (RFC 24; manual page ``flux.job.output``).

Log lines of the job's shells go to "stderr" where their level is at most `log_stderr_level`, else to a stream "log";
-1 takes all of them apart.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_JOB_EVENT_WATCH_WAITCREATE
from flux.errors import FluxError
from flux.idset import IDset
from flux.job.event import EventLogEvent, JobException, event_watch
from flux.job.JobID import JobID
from flux.job.lookup import job_info_lookup
from flux.job.output import OutputReader, log_line

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["JobOutput", "job_output", "output_watch", "output_watch_lines"]

_LOG = "guest.output"


class JobOutput(NamedTuple):
    """All that a job has written."""

    stdout: str
    stderr: str
    log: str


class _Collector:
    """Events in, (stream, text) out."""

    def __init__(self, labelio: bool, log_stderr_level: int, tasks: str = "*") -> None:
        self._label = labelio
        self._level = log_stderr_level
        self._tasks = None if tasks in ("*", "all") else IDset(tasks)
        self._chunks: list[tuple[str, str]] = []
        self._reader = OutputReader(self._data, self._redirect, self._log)

    def take(self, event: EventLogEvent) -> list[tuple[str, str]]:
        self._reader.on_event(event)
        chunks, self._chunks = self._chunks, []
        return chunks

    def _data(self, stream: str, ranks: str, data: bytes) -> None:
        if self._tasks is not None and ranks != "all" and not self._tasks & IDset(ranks):
            return
        text = data.decode(errors="surrogateescape")
        if self._label:
            text = "".join(f"{ranks}: {line}\n" for line in text.splitlines())
        self._chunks.append((stream, text))

    def _redirect(self, stream: str, ranks: str, path: str) -> None:
        self._chunks.append(("stderr", f"{ranks}: {stream} redirected to {path}\n"))

    def _log(self, context: dict[str, Any]) -> None:
        stream = "stderr" if context.get("level", 5) <= self._level else "log"
        self._chunks.append((stream, log_line(context) + "\n"))


def output_watch(
    flux_handle: Handle, jobid: int | str, labelio: bool = False, log_stderr_level: int = 7, nowait: bool = False
) -> Iterator[tuple[str, str]]:
    """(stream, text) as the job writes it, to its end; stream is "stdout", "stderr" or "log".

    Args:
        labelio: begin lines with the ranks of their tasks.
        nowait: take the job for started: do not look whether it is.

    Raises:
        FluxError: ENOENT no such job; EPERM somebody else's; EIO the job ended before it was started.
    """
    job = jobid if isinstance(jobid, JobID) else JobID(jobid)
    if not nowait:
        _await_start(flux_handle, job)
    collector = _Collector(labelio, log_stderr_level)
    for event in event_watch(flux_handle, job, _LOG, FLUX_JOB_EVENT_WATCH_WAITCREATE):
        yield from collector.take(event)


def _await_start(handle: Handle, job: JobID) -> None:
    for event in event_watch(handle, job):
        if event.name == "start":
            return
        if event.name == "exception" and event.context["severity"] == 0:
            raise FluxError(errno.EIO, f"job {job.f58} never started: {JobException(event)}")
    raise FluxError(errno.EIO, f"job {job.f58} never started")


def output_watch_lines(
    flux_handle: Handle,
    jobid: int | str,
    labelio: bool = False,
    log_stderr_level: int = 7,
    nowait: bool = False,
    keepends: bool = False,
) -> Iterator[tuple[str, str]]:
    """The same, a line at a time; what a task wrote without a newline is a line too.

    Args:
        keepends: leave the line breaks.
    """
    for stream, text in output_watch(flux_handle, jobid, labelio, log_stderr_level, nowait):
        for line in text.splitlines(keepends):
            yield stream, line


def job_output(
    flux_handle: Handle,
    jobid: int | str,
    tasks: str = "*",
    labelio: bool = False,
    nowait: bool = False,
    log_stderr_level: int = 7,
) -> JobOutput:
    """All that a job writes, blocking until it has ended.

    Args:
        tasks: an idset of task ranks; default all.
        nowait: what it has written so far. FluxError ENOENT when there is nothing yet.

    Raises:
        JobException: the job ended before it was started.
        FluxError: ENOENT no such job; EPERM somebody else's.
    """
    collector = _Collector(labelio, log_stderr_level, tasks)
    texts: dict[str, list[str]] = {"stdout": [], "stderr": [], "log": []}
    for event in _so_far(flux_handle, jobid) if nowait else _to_the_end(flux_handle, jobid):
        if event.name != "redirect":
            for stream, text in collector.take(event):
                texts[stream].append(text)
    return JobOutput(*("".join(parts) for parts in texts.values()))


def _so_far(handle: Handle, jobid: int | str) -> Iterator[EventLogEvent]:
    text = job_info_lookup(handle, jobid, [_LOG]).get()[_LOG]
    return map(EventLogEvent, text.splitlines())


def _to_the_end(handle: Handle, jobid: int | str) -> Iterator[EventLogEvent]:
    job = jobid if isinstance(jobid, JobID) else JobID(jobid)
    for event in event_watch(handle, job):
        if event.name == "start":
            break
        if event.name == "exception" and event.context["severity"] == 0:
            raise JobException(event)
    yield from event_watch(handle, job, _LOG, FLUX_JOB_EVENT_WATCH_WAITCREATE)
