"""Jobs in the manner of concurrent.futures (manual page ``flux.job.executor``).

Each worker thread has a handle and a reactor of its own, and one pipe through which it is woken: nothing polls.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flux.errors import FluxError
from flux.job.event import MAIN_EVENTS, EventLogEvent, EventStream, JobException
from flux.job.JobID import JobID
from flux.job.submit import SubmitFuture, submit_async

__all__ = ["FluxExecutor", "FluxExecutorFuture"]

_log = logging.getLogger(__name__)


class FluxExecutorFuture(concurrent.futures.Future[int]):
    """A job that an executor submitted or was attached to.

    The result is the job's return code: the highest exit code of its shells (128+signal when a task was killed by
    one), or -signal when a shell was killed.
    The exception is a JobException when the job was ended by one, the OSError that its submission was refused with, or
    ValueError when it was attached to a job that is not there.
    Callbacks run in the thread that brings the news, or at once when it is old.
    """

    EVENTS = MAIN_EVENTS
    """Names that `add_event_callback` takes."""

    def __init__(self, owning_thread_id: int = 0) -> None:
        super().__init__()
        self._news = threading.Condition()
        self._jobid: JobID | None = None
        self._refused: BaseException | None = None
        self._jobid_callbacks: list[Callable[[FluxExecutorFuture], Any]] = []
        self._event_callbacks: dict[str, list[Callable[[FluxExecutorFuture, EventLogEvent], Any]]] = {}
        self._events: list[EventLogEvent] = []

    # -- the executor's side

    def _set_jobid(self, jobid: JobID | None, refused: BaseException | None = None) -> None:
        with self._news:
            self._jobid, self._refused = jobid, refused
            callbacks, self._jobid_callbacks = self._jobid_callbacks, []
            self._news.notify_all()
        if jobid is not None:
            for callback in callbacks:
                self._call(callback, self)

    def _set_event(self, event: EventLogEvent) -> None:
        with self._news:
            self._events.append(event)
            callbacks = list(self._event_callbacks.get(event.name, ()))
        for callback in callbacks:
            self._call(callback, self, event)

    @staticmethod
    def _call(callback: Callable[..., Any], *args: Any) -> None:
        try:
            callback(*args)
        except Exception:
            _log.exception("a callback of a job raised")

    # -- the user's side

    def jobid(self, timeout: float | None = None) -> JobID:
        """The job's id, blocking until it is there.

        Raises:
            concurrent.futures.TimeoutError: not within timeout seconds.
            concurrent.futures.CancelledError: the future was cancelled before the job was submitted.
            RuntimeError: the job was refused.
        """
        with self._news:
            self._news.wait_for(lambda: self._jobid is not None or self._refused is not None, timeout)
            if self._jobid is not None:
                return self._jobid
        if isinstance(self._refused, concurrent.futures.CancelledError):
            raise self._refused
        if self._refused is not None:
            raise RuntimeError(f"the job was not submitted: {self._refused}") from self._refused
        raise concurrent.futures.TimeoutError

    def add_jobid_callback(self, callback: Callable[[FluxExecutorFuture], Any]) -> FluxExecutorFuture:
        """Call callback(future) when the job's id is known. Gives the future."""
        with self._news:
            if self._jobid is None:
                self._jobid_callbacks.append(callback)
                return self
        self._call(callback, self)
        return self

    def add_event_callback(
        self, event: str, callback: Callable[[FluxExecutorFuture, EventLogEvent], Any]
    ) -> FluxExecutorFuture:
        """Call callback(future, event) for each event of that name, past ones included. Gives the future.

        Raises:
            ValueError: jobs have no event of that name.
        """
        if event not in self.EVENTS:
            raise ValueError(f"jobs have no event '{event}': one of {', '.join(sorted(self.EVENTS))}")
        with self._news:
            self._event_callbacks.setdefault(event, []).append(callback)
            past = [entry for entry in self._events if entry.name == event]
        for entry in past:
            self._call(callback, self, entry)
        return self

    def add_done_callback(self, fn: Callable[[Any], Any]) -> FluxExecutorFuture:  # type: ignore[override]
        """As in concurrent.futures. Gives the future."""
        super().add_done_callback(fn)
        return self

    def cancel(self) -> bool:
        """Cancel the future unless a thread has begun to submit it. The job itself: `flux.job.cancel`."""
        cancelled = super().cancel()
        if cancelled:
            self._set_jobid(None, concurrent.futures.CancelledError())
        return cancelled


class _Worker(threading.Thread):
    """A thread that submits and watches the jobs put in its queue."""

    def __init__(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__(name=name, daemon=True)
        self._args = args
        self._kwargs = kwargs
        self._queue: deque[tuple[FluxExecutorFuture, Callable[[Any], Any]]] = deque()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._lock = threading.Lock()
        self._active: set[FluxExecutorFuture] = set()
        self._stopping = False
        self.failure: BaseException | None = None

    # -- other threads

    def put(self, future: FluxExecutorFuture, start: Callable[[Any], Any]) -> None:
        self._queue.append((future, start))
        self._wake()

    def stop(self) -> None:
        """End when the jobs at hand have ended."""
        self._stopping = True
        self._wake()

    def cancel_queued(self) -> None:
        while self._queue:
            try:
                future, _ = self._queue.popleft()
            except IndexError:  # the thread was faster
                return
            future.cancel()

    def _wake(self) -> None:
        with self._lock:
            if self._wake_write >= 0:
                try:
                    os.write(self._wake_write, b"\0")
                except BlockingIOError:
                    pass  # it is full of wake-ups

    # -- this thread

    def run(self) -> None:
        from flux.core.handle import Flux

        try:
            with Flux(*self._args, **self._kwargs) as self._handle:
                self._serve()
        except BaseException as exc:
            self.failure = exc
            self._fail_all(exc)
        finally:
            with self._lock:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1

    def _serve(self) -> None:
        self._reactor = self._handle.get_reactor()
        self._reactor.add_fd(self._wake_read, 1, self._woken)
        self._reactor.incref()
        self._take()
        while not (self._stopping and not self._queue and not self._active):
            self._reactor.run_once()
            if self._handle.session.error is not None:
                raise self._handle.session.error

    def _fail_all(self, exc: BaseException) -> None:
        for future in list(self._active):
            self._end(future, exc)
        while self._queue:
            future, _ = self._queue.popleft()
            if future.set_running_or_notify_cancel():
                self._end(future, exc)

    def _woken(self, _events: int) -> None:
        os.read(self._wake_read, 65536)
        self._take()

    def _take(self) -> None:
        while self._queue:
            try:
                future, start = self._queue.popleft()
            except IndexError:
                return
            if future.set_running_or_notify_cancel():
                self._active.add(future)
                self._begin(future, start)

    def _begin(self, future: FluxExecutorFuture, start: Callable[[Any], Any]) -> None:
        try:
            begun = start(self._handle)
        except (OSError, ValueError, TypeError) as exc:
            self._end(future, exc)
            return
        if isinstance(begun, JobID):
            self._watch(future, begun)
        else:
            begun.then(self._submitted, future)

    def _submitted(self, submission: SubmitFuture, future: FluxExecutorFuture) -> None:
        try:
            jobid = submission.get_id()
        except FluxError as exc:
            self._end(future, exc)
            return
        self._watch(future, jobid)

    def _watch(self, future: FluxExecutorFuture, jobid: JobID) -> None:
        future._set_jobid(jobid)
        EventStream(
            self._handle,
            jobid,
            "eventlog",
            lambda event: self._event(future, event),
            lambda exc: self._end(future, exc),
        )

    def _event(self, future: FluxExecutorFuture, event: EventLogEvent) -> None:
        future._set_event(event)
        if future.done():
            return
        if event.name == "finish":
            future.set_result(_returncode(event.context["status"]))
        elif event.name == "exception" and event.context["severity"] == 0:
            future.set_exception(JobException(event))

    def _end(self, future: FluxExecutorFuture, exc: BaseException | None) -> None:
        self._active.discard(future)
        if future._jobid is None:
            future._set_jobid(None, exc)
        elif isinstance(exc, FileNotFoundError) and not future._events:
            exc = ValueError(f"there is no job {future._jobid}")
        if not future.done():
            future.set_exception(exc or RuntimeError("the job's eventlog ended without a result"))


def _returncode(waitstatus: int) -> int:
    signum = waitstatus & 0x7F
    return -signum if signum else waitstatus >> 8


class FluxExecutor:
    """Submits jobs and follows them in threads of its own.

    Args:
        threads: number of worker threads.
        thread_name_prefix: of their names.
        poll_interval: accepted for programs that set it; the workers are woken, not polling.
        handle_args, handle_kwargs: of the `flux.Flux` that each thread opens.
    """

    EVENTS = MAIN_EVENTS

    def __init__(
        self,
        threads: int = 1,
        thread_name_prefix: str = "",
        poll_interval: float = 0.1,
        handle_args: Sequence[Any] = (),
        handle_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}")
        prefix = thread_name_prefix or "FluxExecutor"
        self._workers = [_Worker(f"{prefix}-{i}", handle_args, handle_kwargs or {}) for i in range(threads)]
        self._next = itertools.cycle(self._workers)
        self._lock = threading.Lock()
        self._closed = False
        for worker in self._workers:
            worker.start()

    def submit(self, *args: Any, **kwargs: Any) -> FluxExecutorFuture:
        """Submit a job; arguments as those of `flux.job.submit` after the handle.

        Raises:
            RuntimeError: after shutdown, or when the instance cannot be reached.
        """
        return self._put(lambda handle: submit_async(handle, *args, **kwargs))

    def attach(self, jobid: int) -> FluxExecutorFuture:
        """Follow a job that somebody submitted. RuntimeError as for `submit`."""
        return self._put(lambda _handle: JobID(jobid))

    def _put(self, start: Callable[[Any], Any]) -> FluxExecutorFuture:
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was shut down")
            worker = next(self._next)
            if worker.failure is not None:
                raise RuntimeError(f"the instance cannot be reached: {worker.failure}") from worker.failure
            future = FluxExecutorFuture()
            worker.put(future, start)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more jobs.

        Args:
            wait: return when all jobs have ended.
            cancel_futures: cancel what no thread has begun to submit.
        """
        with self._lock:
            self._closed = True
        for worker in self._workers:
            if cancel_futures:
                worker.cancel_queued()
            worker.stop()
        if wait:
            for worker in self._workers:
                worker.join()

    def __enter__(self) -> FluxExecutor:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.shutdown(wait=True)
