"""The process of an isolated policy: `python -m flux_plugins.job_manager.policy_worker SOCKET LIFELINE`.

It calls the policy's hooks one after the other as the job manager asks, and runs its timers in between. It ends when
the job manager's end of LIFELINE is closed, whatever the policy is doing.
"""

from __future__ import annotations

import errno
import heapq
import inspect
import itertools
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Any

from flux import discovery
from flux.constants import FLUX_JOB_STATE_INACTIVE
from flux.errors import FluxError, as_flux_error
from flux.hooks import jobtap
from flux.hooks.host import HookFailure, PluginHost
from flux_plugins.job_manager.policy_wire import JOB_FIELDS, Frames, frame, pack_result

__all__ = ["main"]


class RemoteJob:
    """A job as the policy sees it (`flux.hooks.jobtap.Job`): as it was when a hook was called for it last."""

    def __init__(self, worker: Worker, snapshot: dict[str, Any]) -> None:
        self._worker = worker
        self.aux: dict[str, Any] = {}
        self.update(snapshot)

    def update(self, snapshot: dict[str, Any]) -> None:
        from flux.job.Jobspec import JobspecV1

        for field in JOB_FIELDS:
            setattr(self, field, snapshot[field])
        self.id: int = snapshot["id"]
        self.state: int = snapshot["state"]
        # it was checked at ingest: no need to do so again for each call
        self.jobspec = JobspecV1.__new__(JobspecV1)
        self.jobspec.jobspec = snapshot["jobspec"]
        self._known: dict[str, bool] = snapshot["dependencies"]

    @property
    def system(self) -> dict[str, Any]:
        attributes = self.jobspec.jobspec.get("attributes") or {}
        return attributes.get("system") or {}

    @property
    def dependencies(self) -> list[str]:
        return [text for text, met in self._known.items() if not met]

    def dependency_add(self, description: str) -> bool:
        met = self._known.get(description)
        if met:
            raise FluxError(errno.EEXIST, f"the job had a dependency {description} before, which was met")
        if met is None:
            self._known[description] = False
            self._do("dependency_add", description)
        return met is None

    def dependency_remove(self, description: str) -> None:
        if self._known.get(description, True):
            raise FluxError(errno.ENOENT, f"{description} is not a dependency that the job waits for")
        self._known[description] = True
        self._do("dependency_remove", description)

    def raise_exception(self, type: str, severity: int, note: str = "") -> None:
        self._do("raise_exception", type, severity, note)

    def post_event(self, name: str, context: Mapping[str, Any] | None = None) -> None:
        self._do("post_event", name, context)

    def has_event(self, name: str) -> bool:
        found: bool = self._worker.ask("has_event", (self.id, name))
        return found

    def set_flag(self, name: str) -> None:
        self._do("set_flag", name)

    def jobspec_update(self, updates: Mapping[str, Any]) -> None:
        self._do("jobspec_update", updates)

    def subscribe(self, callback: Callable[[RemoteJob, Mapping[str, Any]], Any]) -> None:
        self._worker.followers.setdefault(self.id, []).append(callback)
        self._do("subscribe")

    def unsubscribe(self, callback: Callable[[RemoteJob, Mapping[str, Any]], Any]) -> None:
        followers = self._worker.followers.get(self.id, [])
        if callback in followers:
            followers.remove(callback)
        if not followers:
            self._worker.followers.pop(self.id, None)
            self._do("unsubscribe")

    def reprioritize(self, priority: int) -> None:
        self._do("reprioritize", priority)

    def annotate(self, annotations: Mapping[str, Any]) -> None:
        self._do("annotate", annotations)

    def prolog_start(self, description: str) -> None:
        self._do("prolog_start", description)

    def prolog_finish(self, description: str, status: int) -> None:
        self._do("prolog_finish", description, status)

    def epilog_start(self, description: str) -> None:
        self._do("epilog_start", description)

    def epilog_finish(self, description: str, status: int) -> None:
        self._do("epilog_finish", description, status)

    def _do(self, method: str, *arguments: Any) -> None:
        self._worker.send(op="do", id=self.id, method=method, arguments=arguments)


class Timer:
    """What `call_later` returns."""

    def __init__(self, callback: Callable[[], Any]) -> None:
        self.callback: Callable[[], Any] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Worker:
    """The policy's side; the manager as the policy sees it (`flux.hooks.jobtap.Manager`)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()
        self._inbox: deque[dict[str, Any]] = deque()
        self._jobs: dict[int, RemoteJob] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._services: dict[str, Callable[[Any], Any]] = {}
        self.followers: dict[int, list[Callable[[RemoteJob, Mapping[str, Any]], Any]]] = {}
        self._uri = ""
        self.host = PluginHost("job-manager", jobtap, _raise)
        self.conf: dict[str, Any] = {}
        self.expiration = 0.0

    # -- the loop

    def run(self) -> None:
        """Serve until the job manager closes the socket."""
        while self._wait():
            self._run_timers()
            if self._inbox:
                self._handle(self._inbox.popleft())

    def _wait(self) -> bool:
        if self._inbox:
            return True
        timeout = max(self._timers[0][0] - time.monotonic(), 0.0) if self._timers else None
        readable, _, _ = select.select([self._sock], [], [], timeout)
        return not readable or self._read()

    def _read(self) -> bool:
        data = self._sock.recv(1 << 16)
        self._inbox.extend(self._frames.feed(data))
        return bool(data)

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            callback = heapq.heappop(self._timers)[2].callback
            if callback is None:
                continue
            try:
                callback()
            except Exception as exc:
                self._failed(0, "timer", exc)

    def send(self, **message: Any) -> None:
        self._sock.sendall(frame(message))

    def _failed(self, seq: int, hook: str, exc: Exception) -> None:
        """An error of the policy's: one that it means to tell users, or a mistake in it."""
        if isinstance(exc, MemoryError):
            os._exit(errno.ENOMEM)  # a leak: only a new process gets rid of it
        error = as_flux_error(exc)
        if not isinstance(exc, FluxError):
            traceback.print_exception(exc)
        text = str(error) if isinstance(exc, FluxError) else f"{type(exc).__name__}: {exc}"
        self.send(op="error", seq=seq, hook=hook, errno=error.errno, text=text, meant=isinstance(exc, FluxError))

    # -- what the job manager asks for

    def _handle(self, message: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{message['op']}")
        try:
            handler(message)
        except Exception as exc:
            self._failed(message.get("seq", 0), message.get("hook", message["op"]), exc)

    def _on_load(self, message: dict[str, Any]) -> None:
        self.conf, self.expiration, self._uri = message["conf"], message["expiration"], message["uri"]
        if message["memory_limit"]:
            bound = message["memory_limit"] << 20
            resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        plugin, origin = discovery.load("jobtap", message["reference"])
        self.host.register(plugin() if inspect.isclass(plugin) else plugin, message["name"])
        self.host.call("plugin_load", manager=self, options=message["options"])
        self.host.call("conf_update", conf=self.conf)
        order = getattr(plugin, "load_order", "none")
        self.send(op="loaded", file=origin.file, hooks=self.host.hooks_of(message["name"]), load_order=order)

    def _on_call(self, message: dict[str, Any]) -> None:
        started = time.perf_counter()
        results = self._call(message)
        elapsed = time.perf_counter() - started
        result = pack_result(results[-1] if results else None)
        self.send(op="result", seq=message["seq"], seconds=elapsed, **result)

    def _on_notify(self, message: dict[str, Any]) -> None:
        try:
            self._call(message)
        except FluxError as exc:
            if exc.errno != errno.EEXIST:  # else it is told of a job again, one of whose dependencies was met
                raise

    def _on_event(self, message: dict[str, Any]) -> None:
        job = self._job(message["job"])
        for follower in tuple(self.followers.get(job.id, ())):
            follower(job, message["event"])
        if job.state == FLUX_JOB_STATE_INACTIVE:
            self.followers.pop(job.id, None)

    def _call(self, message: dict[str, Any]) -> list[Any]:
        hook, arguments = message["hook"], message["arguments"]
        if hook == "conf_update":
            self.conf = arguments["conf"]
        arguments = {"manager": self, "conf": self.conf, **arguments}
        if message.get("job"):
            arguments["job"] = self._job(message["job"])
        return self.host.call(hook, **arguments)

    def _on_forget(self, message: dict[str, Any]) -> None:
        self._jobs.pop(message["id"], None)

    def _on_service(self, message: dict[str, Any]) -> None:
        request = SimpleNamespace(**message["request"])
        self.send(op="result", seq=message["seq"], seconds=0.0, value=self._services[request.topic](request))

    def _job(self, snapshot: dict[str, Any]) -> RemoteJob:
        job = self._jobs.get(snapshot["id"])
        if job is None:
            job = RemoteJob(self, snapshot)
            if snapshot["state"] != FLUX_JOB_STATE_INACTIVE:
                self._jobs[job.id] = job
        else:
            job.update(snapshot)
        return job

    # -- the manager, as policies see it

    @cached_property
    def flux(self) -> Any:
        """A blocking handle: nobody else waits for this process."""
        from flux import Flux

        return Flux(self._uri)

    def ask(self, what: str, argument: Any = None) -> Any:
        """Ask the job manager and wait for its answer; what else comes meanwhile is kept for later."""
        self.send(op="ask", what=what, argument=argument)
        while True:
            for message in self._inbox:
                if message["op"] == "found":
                    self._inbox.remove(message)
                    if message["error"]:
                        raise FluxError(*message["error"])
                    return message["value"]
            if not self._read():
                raise SystemExit(0)

    def queue(self, name: str | None) -> Any:
        return SimpleNamespace(**self.ask("queue", name))

    def job(self, id: int) -> RemoteJob:
        return self._job(self.ask("job", id))

    def active_jobs(self) -> list[RemoteJob]:
        return [self._job(snapshot) for snapshot in self.ask("active_jobs")]

    def reprioritize_all(self) -> None:
        self.send(op="do", id=0, method="reprioritize_all", arguments=())

    def call(self, topic: str, arguments: Mapping[str, Any] | None = None, job: Any = None) -> list[Any]:
        results: list[Any] = self.ask("call", (topic, arguments or {}, job.id if job else 0))
        return results

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + max(delay, 0.0), next(self._count), timer))
        return timer

    def register_service(self, topic: str, callback: Callable[[Any], Any], allow: int = 1) -> None:
        self._services[topic] = callback
        self.send(op="serve", topic=topic, allow=allow)


def _raise(failure: HookFailure) -> None:
    raise failure.error


def _watch(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


def main(argv: list[str]) -> int:
    """Serve on the inherited socket until it is closed."""
    sock, lifeline = (int(word) for word in argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    with socket.socket(fileno=sock) as channel:
        Worker(channel).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
