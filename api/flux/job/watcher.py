"""Follow several jobs at once: output, events, how far they have come (manual page ``flux.job.watcher``)."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, Any, Self

from flux.constants import FLUX_JOB_STATE_SCHED
from flux.job.event import event_watch_async
from flux.job.info import JobInfo
from flux.job.job_progress import JobProgressBar, JobStatus
from flux.job.output_events import JobExceptionEvent
from flux.job.output_watch import output_watch_async

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.event import EventLogEvent, JobEventWatchFuture
    from flux.job.output_watch import JobOutputWatch

__all__ = ["JobProgressBar", "JobStatus", "JobWatcher"]

_EXEC = "exec."
_MOVES = re.compile(r"\033(?:\[\??[\d;]*[rHJfABCDthl]|[78DMc])")
"""Control sequences that would move what is at the bottom."""


class _Watched(JobStatus):
    """A job and where its output goes."""

    def __init__(self, job: JobInfo, stdout: IO[str], stderr: IO[str], wait: str | None) -> None:
        super().__init__(job)
        self.stdout = stdout
        self.stderr = stderr
        self.wait = wait


class JobWatcher:
    """Follows jobs while the reactor of its handle runs, which ends when nothing is left to follow.

    Args:
        jobs: to begin with. progress: show a bar at the bottom; jps: with jobs per second.
        wait: follow a job to this event; "exec.NAME": of the eventlog of its shells.
        watch: show output. log_events: show events on stderr. log_status: show how jobs ended on stderr.
        stdout, stderr: where to; default those of this process. labelio: begin lines with job id and task rank.
        starttime: seconds since the epoch, from which times count; default: when the first job was submitted.
        output_callback: called with (jobid, stream, text) in place of writing output; stream and text are None at its
            end.

    Attributes:
        exitcode: the greatest of the jobs' exit codes so far; 128 plus the signal that ended one.
    """

    def __init__(
        self,
        flux_handle: Flux,
        jobs: Iterable[JobInfo] | None = None,
        progress: bool = False,
        jps: bool = False,
        wait: str = "clean",
        watch: bool = True,
        log_events: bool = False,
        log_status: bool = False,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        labelio: bool = False,
        starttime: float | None = None,
        output_callback: Callable[[int, str | None, str | None], Any] | None = None,
    ) -> None:
        self.flux_handle = flux_handle
        self.show_progress = progress
        self.progress = JobProgressBar(flux_handle, starttime, jps)
        self.wait = wait
        self.watch = watch
        self.log_events = log_events
        self.log_status = log_status
        self.labelio = labelio
        self.output_callback = output_callback
        self.stdout = _tolerant(stdout or sys.stdout)
        self.stderr = _tolerant(stderr or sys.stderr)
        self.exitcode = 0
        self._t0 = starttime
        self.add_jobs(*(jobs or ()))

    def start(self) -> Self:
        """Show the bar, if there is to be one."""
        if self.show_progress:
            self.progress.start()
        return self

    def stop(self) -> Self:
        """Leave the bar as it is."""
        if self.show_progress:
            self.progress.stop()
        return self

    def add_jobs(
        self, *jobs: JobInfo, stdout: IO[str] | None = None, stderr: IO[str] | None = None, wait: str | None = None
    ) -> Self:
        """Follow jobs; where their output goes and how far may be another than for the rest."""
        self.progress.add_jobs(*jobs)
        for job in jobs:
            self._t0 = job.t_submit if self._t0 is None else min(self._t0, job.t_submit)
            watched = _Watched(job, stdout or self.stdout, stderr or self.stderr, wait or self.wait)
            event_watch_async(self.flux_handle, job.id).then(self._on_event, watched)
        return self

    def add_jobid(
        self, jobid: int, stdout: IO[str] | None = None, stderr: IO[str] | None = None, wait: str | None = None
    ) -> Self:
        """Follow a job that has just been submitted."""
        job = JobInfo({"id": jobid, "state": FLUX_JOB_STATE_SCHED, "t_submit": time.time()})
        return self.add_jobs(job, stdout=stdout, stderr=stderr, wait=wait)

    # -- events

    def _on_event(self, future: JobEventWatchFuture, job: _Watched) -> None:
        event = future.get_event()
        self.progress.process_event(job.id, event)
        if event is None:
            return
        job.add_event(event.name)
        self._t0 = min(self._t0 or event.timestamp, event.timestamp)
        self._log_event(job, event)
        if event.name == "exception":
            self._on_exception(job, event)
        elif event.name == "start":
            self._on_start(future, job)
        elif event.name == "finish":
            self._on_finish(job, event)
        if event.name == job.wait:
            self._leave(future, job)

    def _leave(self, main: JobEventWatchFuture, job: _Watched) -> None:
        main.cancel(stop=True)
        self.progress.process_event(job.id)

    def _on_exception(self, job: _Watched, event: EventLogEvent) -> None:
        if event.context["severity"] == 0:
            print(JobExceptionEvent(event).render(), file=job.stderr, flush=True)
            if not job.has_event("start"):
                job.status = "failed"
                self.exitcode = max(self.exitcode, 1)

    def _on_start(self, main: JobEventWatchFuture, job: _Watched) -> None:
        if self.watch:
            watch = output_watch_async(self.flux_handle, job.id, self.labelio, nowait=True)
            watch.then(self._on_output, job)
        if self.log_events or (job.wait or "").startswith(_EXEC):
            exec_events = event_watch_async(self.flux_handle, job.id, "guest.exec.eventlog")
            exec_events.then(self._on_exec_event, job, main)

    def _on_finish(self, job: _Watched, event: EventLogEvent) -> None:
        status = event.context["status"]
        job.status = "failed" if status else "complete"
        self.exitcode = max(self.exitcode, _exit_code(status))
        if self.log_status:
            self._log(job, event, f"{job.status}: status={status}")

    def _on_exec_event(self, future: JobEventWatchFuture, job: _Watched, main: JobEventWatchFuture) -> None:
        event = future.get_event()
        if event is None:
            return
        self._log_event(job, event, _EXEC)
        if job.wait == f"{_EXEC}{event.name}":
            future.cancel(stop=True)
            self._leave(main, job)

    def _log_event(self, job: _Watched, event: EventLogEvent, prefix: str = "") -> None:
        if self.log_events:
            self._log(job, event, f"{prefix}{event.name} {event.context_string}".rstrip())

    def _log(self, job: _Watched, event: EventLogEvent, text: str) -> None:
        seconds = event.timestamp - (self._t0 or event.timestamp)
        print(f"{job.id.f58}: {seconds:.3f}s: {text}", file=job.stderr, flush=True)

    # -- output

    def _on_output(self, watch: JobOutputWatch, job: _Watched) -> None:
        stream, text = watch.get_output()
        if self.output_callback is not None:
            self.output_callback(job.id, stream, text)
        elif stream is None or text is None:
            job.stdout.flush()
            job.stderr.flush()
        else:
            self._write(job, job.stdout if stream == "stdout" else job.stderr, text)

    def _write(self, job: _Watched, to: IO[str], text: str) -> None:
        if self.show_progress:
            text = _MOVES.sub("", text)
        if self.labelio:
            text = "".join(f"{job.id}: {line}" for line in text.splitlines(keepends=True))
        to.write(text)


def _tolerant(stream: IO[str]) -> IO[str]:
    """The stream, which from now on takes what is no text as well."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="surrogateescape")
    return stream


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
