"""What a job writes, for programs (RFC 24; manual page ``flux.job.output``).

Log lines of the job's shells go to "stderr" where their level is at most `log_stderr_level`, else to a stream "log";
-1 takes all of them apart.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_JOB_EVENT_WATCH_WAITCREATE
from flux.errors import FluxError
from flux.future import Future
from flux.job.event import EventLogEvent, EventStream, JobException, event_watch
from flux.job.JobID import JobID
from flux.job.lookup import job_info_lookup
from flux.job.output_events import JobExceptionEvent, LogEvent, OutputEvent, RedirectEvent, Taskset, output_event

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = [
    "JobOutput",
    "JobOutputEventWatch",
    "JobOutputWatch",
    "JobOutputWatchLines",
    "job_output",
    "output_event_watch",
    "output_event_watch_async",
    "output_watch",
    "output_watch_async",
    "output_watch_lines",
    "output_watch_lines_async",
]

_LOG = "guest.output"
_ALL_LEVELS = 7

_Chunk = tuple[str, str] | tuple[None, None]


class JobOutputEventWatch(Future):
    """A stream of a job's output events and exceptions; made by output_event_watch_async()."""

    _END: Any = None

    def __init__(self, flux_handle: Handle, jobid: int | str, labelio: bool = False, nowait: bool = False) -> None:
        super().__init__(flux_handle)
        self._job = jobid if isinstance(jobid, JobID) else JobID(jobid)
        self._label = labelio
        self._started = self._finished = nowait
        self._closed = self._over = False
        self._streams: list[EventStream] = []
        if nowait:
            self._follow_output()
        else:
            self._follow("eventlog", self._main_event, self._main_end)

    def _follow(
        self,
        eventlog: str,
        on_event: Callable[[EventLogEvent], Any],
        on_end: Callable[[FluxError | None], Any],
        flags: int = 0,
    ) -> None:
        assert self._handle is not None
        self._streams.append(EventStream(self._handle, self._job, eventlog, on_event, on_end, flags))

    def _follow_output(self) -> None:
        self._started = True
        self._follow(_LOG, self._take, self._output_end, FLUX_JOB_EVENT_WATCH_WAITCREATE)

    def _main_event(self, event: EventLogEvent) -> None:
        if event.name == "start":
            self._follow_output()
        elif event.name == "exception":
            self._take(event)
        elif event.name == "finish":
            self._finished = True
            self._end_if_all_is_seen()

    def _main_end(self, error: FluxError | None) -> None:
        self._finished = True
        if error is None and not self._started:
            error = FluxError(errno.EIO, f"job {self._job.f58} never started")
        elif error is not None and error.errno == errno.ENOENT:
            error = FluxError(errno.ENOENT, f"job {self._job.f58} not found")
        self._end_if_all_is_seen(error)

    def _output_end(self, error: FluxError | None) -> None:
        self._closed = True
        self._end_if_all_is_seen(error)

    def _end_if_all_is_seen(self, error: FluxError | None = None) -> None:
        if not self._over and (error or (self._closed and self._finished)):
            self._over = True
            self.fulfill(error or self._END)

    def _take(self, event: EventLogEvent) -> None:
        if not self._over:
            self._put(output_event(event, self._label))

    def _put(self, event: EventLogEvent) -> None:
        self.fulfill(event)

    def _more(self) -> bool:
        return self._results[0] != self._END and not isinstance(self._results[0], BaseException)

    def _next(self, autoreset: bool = True) -> Any:
        result = self.get()
        if autoreset and result != self._END:
            self.reset()
        return result

    def get_event(self, autoreset: bool = True) -> Any:
        """The next event, of a class of flux.job.output_events, blocking; None at the end.

        Args:
            autoreset: go on to the event after it, so that the next call gives that one.
        """
        return self._next(autoreset)

    def cancel(self, stop: bool = False) -> None:
        """Watch no longer. stop: call no callback for what has arrived either."""
        for stream in self._streams:
            stream.cancel()
        if stop:
            self.stop()


class JobOutputWatch(JobOutputEventWatch):
    """A stream of chunks of a job's output; made by output_watch_async()."""

    _END = (None, None)

    def __init__(
        self,
        flux_handle: Handle,
        jobid: int | str,
        labelio: bool = False,
        log_stderr_level: int = _ALL_LEVELS,
        nowait: bool = False,
    ) -> None:
        self._level = log_stderr_level
        super().__init__(flux_handle, jobid, labelio, nowait)

    def _put(self, event: EventLogEvent) -> None:
        for chunk in _chunks(event, self._level):
            self.fulfill(chunk)

    def get_output(self) -> _Chunk:
        """The next (stream, text), blocking; (None, None) at the end. stream: "stdout", "stderr" or "log"."""
        chunk: _Chunk = self._next()
        return chunk


class JobOutputWatchLines(JobOutputWatch):
    """A stream of lines of a job's output; made by output_watch_lines_async()."""

    def __init__(
        self,
        flux_handle: Handle,
        jobid: int | str,
        labelio: bool = False,
        log_stderr_level: int = _ALL_LEVELS,
        nowait: bool = False,
        keepends: bool = False,
    ) -> None:
        self._keepends = keepends
        super().__init__(flux_handle, jobid, labelio, log_stderr_level, nowait)

    def _put(self, event: EventLogEvent) -> None:
        for stream, text in _chunks(event, self._level):
            for line in text.splitlines(self._keepends):
                self.fulfill((stream, line))

    def getline(self) -> _Chunk:
        """The next (stream, line), blocking; (None, None) at the end."""
        return self.get_output()


def _chunks(event: EventLogEvent, level: int) -> Iterator[tuple[str, str]]:
    if isinstance(event, OutputEvent):
        if event.data:
            yield event.stream, event.data
    elif isinstance(event, LogEvent):
        yield "stderr" if event.level <= level else "log", f"{event.render()}\n"
    elif isinstance(event, RedirectEvent | JobExceptionEvent):
        yield "stderr", f"{event.render()}\n"


def output_event_watch_async(
    flux_handle: Handle, jobid: int | str, labelio: bool = False, nowait: bool = False
) -> JobOutputEventWatch:
    """Watch the events of a job's output eventlog, and its exceptions, to the job's end.

    Args:
        labelio: begin lines with the ranks of their tasks.
        nowait: take the job for started: do not look whether it is, nor for exceptions.

    Errors, when an event is got: ENOENT no such job; EPERM somebody else's; EIO the job ended before it was started.
    """
    return JobOutputEventWatch(flux_handle, jobid, labelio, nowait)


def output_watch_async(
    flux_handle: Handle,
    jobid: int | str,
    labelio: bool = False,
    log_stderr_level: int = _ALL_LEVELS,
    nowait: bool = False,
) -> JobOutputWatch:
    """Watch a job's output: (stream, text) as the job writes it. The rest is as for output_event_watch_async()."""
    return JobOutputWatch(flux_handle, jobid, labelio, log_stderr_level, nowait)


def output_watch_lines_async(
    flux_handle: Handle,
    jobid: int | str,
    labelio: bool = False,
    log_stderr_level: int = _ALL_LEVELS,
    nowait: bool = False,
    keepends: bool = False,
) -> JobOutputWatchLines:
    """The same, a line at a time; what a task wrote without a newline is a line too.

    Args:
        keepends: leave the line breaks.
    """
    return JobOutputWatchLines(flux_handle, jobid, labelio, log_stderr_level, nowait, keepends)


def output_event_watch(
    flux_handle: Handle, jobid: int | str, labelio: bool = False, nowait: bool = False
) -> Iterator[Any]:
    """`output_event_watch_async` as a blocking generator. Leaving it early ends the watch."""
    return _generated(output_event_watch_async(flux_handle, jobid, labelio, nowait))


def output_watch(
    flux_handle: Handle,
    jobid: int | str,
    labelio: bool = False,
    log_stderr_level: int = _ALL_LEVELS,
    nowait: bool = False,
) -> Iterator[tuple[str, str]]:
    """`output_watch_async` as a blocking generator."""
    return _generated(output_watch_async(flux_handle, jobid, labelio, log_stderr_level, nowait))


def output_watch_lines(
    flux_handle: Handle,
    jobid: int | str,
    labelio: bool = False,
    log_stderr_level: int = _ALL_LEVELS,
    nowait: bool = False,
    keepends: bool = False,
) -> Iterator[tuple[str, str]]:
    """`output_watch_lines_async` as a blocking generator."""
    return _generated(output_watch_lines_async(flux_handle, jobid, labelio, log_stderr_level, nowait, keepends))


def _generated(watch: JobOutputEventWatch) -> Iterator[Any]:
    try:
        while (result := watch._next()) != watch._END:
            yield result
    finally:
        watch.cancel()


class JobOutput(NamedTuple):
    """All that a job has written."""

    stdout: str
    stderr: str
    log: str


def job_output(
    flux_handle: Handle,
    jobid: int | str,
    tasks: str = "*",
    labelio: bool = False,
    nowait: bool = False,
    log_stderr_level: int = _ALL_LEVELS,
) -> JobOutput:
    """All that a job writes, blocking until it has ended.

    Args:
        tasks: an idset of task ranks; default all.
        nowait: what it has written so far. FluxError ENOENT when there is nothing yet.

    Raises:
        JobException: the job ended before it was started.
        FluxError: ENOENT no such job; EPERM somebody else's.
    """
    wanted = Taskset(tasks)
    texts: dict[str, list[str]] = {"stdout": [], "stderr": [], "log": []}
    for entry in _so_far(flux_handle, jobid) if nowait else _to_the_end(flux_handle, jobid):
        event = output_event(entry, labelio)
        if isinstance(event, LogEvent) or (isinstance(event, OutputEvent) and wanted.intersect(event.rank)):
            for stream, text in _chunks(event, log_stderr_level):
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
