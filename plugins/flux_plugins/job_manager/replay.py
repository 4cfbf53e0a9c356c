"""Replays recorded jobs through one policy, and says what it would have done differently (flux-jobtap(1), test).

`python -m flux_plugins.job_manager.replay`: a request on standard input, {plugin, file, options, conf}, as JSON; the
answer on standard output, {jobs, outcomes: [{id, differences: [{timestamp, text}]}]}, or {error}. It needs no instance.

Events are replayed in the order of their times, over all jobs; so are the policy's timers. What is recorded happens in
any case, but a job that the policy refuses is not seen by it again.
"""

from __future__ import annotations

import errno
import heapq
import inspect
import itertools
import os
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NoReturn

import msgspec

from flux import discovery
from flux.errors import FluxError
from flux.hooks import jobtap
from flux.hooks.host import ErrorPolicy, HookFailure, PluginHost
from flux.hooks.jobtap import UNAVAILABLE
from flux_plugins.job_manager.job import DEPEND, PRIORITY, SCHED, Job
from flux_plugins.job_manager.machine import IllegalEvent, transition
from flux_plugins.job_manager.policies import STATE_HOOKS
from flux_plugins.job_manager.recorded import Recorded, read
from flux_plugins.job_manager.subscriptions import Subscriptions
from flux_plugins.job_manager.view import JobView

__all__ = ["Replay", "main"]


class Refused(Exception):
    """The policy would not have let the job in."""


class _NoInstance:
    """What a policy finds in the place of the job manager's handle."""

    def __getattr__(self, name: str) -> NoReturn:
        raise FluxError(errno.ENOTCONN, "the policy needs manager.flux, and jobs are replayed without an instance")


class Replay:
    """A job manager in which what is recorded happens; it is also the manager that policies see."""

    flux = _NoInstance()
    expiration = 0.0

    def __init__(self, recorded: list[Recorded], conf: Mapping[str, Any]) -> None:
        self.conf = dict(conf)
        self.host = PluginHost("job-manager", jobtap, self._failed)
        self.differences: dict[int, list[dict[str, Any]]] = {job.id: [] for job in recorded}
        self._recorded = {job.id: job for job in recorded}
        self._jobs: dict[int, Job] = {}
        self._now = 0.0
        self._timers: list[tuple[float, int, SimpleNamespace]] = []
        self.subscriptions = Subscriptions(_raise)
        self._count = itertools.count()

    def load(self, reference: str, options: Mapping[str, Any]) -> None:
        """Load the policy. FluxError when it cannot be."""
        plugin, _origin = discovery.load("jobtap", reference)
        self.host.register(plugin() if inspect.isclass(plugin) else plugin, os.path.basename(reference))
        self.host.call("plugin_load", manager=self, options=dict(options))
        self.host.call("conf_update", conf=self.conf)

    def run(self) -> None:
        """Replay everything."""
        events = [
            (event["timestamp"], job.id, n) for job in self._recorded.values() for n, event in enumerate(job.events)
        ]
        for timestamp, jobid, n in sorted(events):
            self._pass_time(timestamp)
            if n == 0:
                self._submit(self._recorded[jobid])
            elif jobid in self._jobs:
                self._happen(self._jobs[jobid], n)

    def _pass_time(self, until: float) -> None:
        while self._timers and self._timers[0][0] <= until:
            self._now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._now = until

    # -- jobs

    def _submit(self, recorded: Recorded) -> None:
        job = Job(recorded.id, recorded.jobspec)
        transition(job, recorded.events[0])
        view = self._view(job)
        self._jobs[job.id] = job
        try:
            for hook in ("job_create", "job_validate"):
                self.host.call(hook, job=view, conf=self.conf)
            for dependency in view.system.get("dependencies") or ():
                about = {"scheme": dependency["scheme"], "dependency": dependency, "manager": self}
                self.host.call("job_dependency", job=view, **about)
        except Refused as exc:
            self._differ(job, f"refused: {exc}")
            del self._jobs[job.id]
            self.host.call("job_destroy", job=view)
            return
        self.host.call("job_new", job=view)

    def _happen(self, job: Job, n: int) -> None:
        event, previous = self._recorded[job.id].events[n], job.state
        if event["name"] == "alloc":
            job.R = self._recorded[job.id].R
        own, job.dependencies = job.dependencies, {}  # what is recorded happens, whatever the policy holds it for
        try:
            if not event["name"].startswith("dependency-"):
                transition(job, event)
        except IllegalEvent as exc:
            raise FluxError(22, f"job {job.id}: its events make no sense: {exc}") from None
        finally:
            job.dependencies = own
        view = self._view(job)
        if job.state != previous and job.state in STATE_HOOKS:
            results = self.host.call(STATE_HOOKS[job.state], job=view, event=event, prev_state=previous)
            self._compare(job, n, results)
        self.host.call("job_event", job=view, event=event)
        if job.id in self.subscriptions:
            self.subscriptions.publish(view, event)

    def _compare(self, job: Job, n: int, results: list[Any]) -> None:
        if not results:
            return
        if job.state == PRIORITY:
            self._compare_priority(job, n, results[-1])
        elif job.state == SCHED:
            self._differ(job, "given resources at once, without the scheduler")

    def _compare_priority(self, job: Job, n: int, priority: Any) -> None:
        later = self._recorded[job.id].events[n:]
        given = next((event["context"]["priority"] for event in later if event["name"] == "priority"), None)
        if priority is UNAVAILABLE:
            self._differ(job, "kept waiting for a priority")
        elif priority != given:
            self._differ(job, f"given priority {priority}" + ("" if given is None else f" instead of {given}"))

    def _differ(self, job: Job, text: str) -> None:
        self.differences[job.id].append({"timestamp": self._now, "text": text})

    def _view(self, job: Job) -> JobView:
        if job.view is None:
            job.view = JobView(job, self)  # type: ignore[arg-type]
        return job.view  # type: ignore[no-any-return]

    def _failed(self, failure: HookFailure) -> None:
        view = failure.arguments.get("job")
        if view is None:
            raise failure.error
        if failure.policy is ErrorPolicy.REFUSE:
            raise Refused(str(failure.error) if isinstance(failure.error, FluxError) else str(failure))
        self._differ(self._jobs[view.id], f"failed: {failure.hook}: {failure.error}")

    # -- what policies do to jobs (as `manager.Manager` for JobView)

    def post(self, job: Job, name: str, context: Mapping[str, Any] | None = None) -> None:
        description = (context or {}).get("description", "")
        if name in ("dependency-add", "dependency-remove"):
            if job.state > DEPEND and name == "dependency-add":
                raise FluxError(22, "the job has left DEPEND")
            job.dependencies[description] = name == "dependency-remove"
            known = any(e["name"] == name and e["context"]["description"] == description for e in self._events(job))
            what = "held for" if name == "dependency-add" else "let go from"
            if not known:
                self._differ(job, f"{what} {description}")
        elif name.endswith(("-start", "-finish")):
            self._differ(job, f"{name.replace('-', ' ')}: {description}")
        else:
            self._differ(job, f"event {name} posted")

    def _events(self, job: Job) -> list[dict[str, Any]]:
        return self._recorded[job.id].events

    def update_jobspec(self, job: Job, updates: Mapping[str, Any]) -> None:
        self._differ(job, f"jobspec updated: {', '.join(updates)}")

    def raise_exception(self, job: Job, type: str, severity: int, note: str = "") -> None:
        how = "ended by an exception" if severity == 0 else f"given an exception of severity {severity}"
        self._differ(job, f"{how}: {type}: {note}")

    def set_priority(self, job: Job, priority: int) -> None:
        if job.state in (PRIORITY, SCHED) and priority != job.priority:
            self._differ(job, f"given priority {priority}")

    def annotate(self, job: Job, annotations: Mapping[str, Any]) -> None:
        """Annotations change nothing of a job's fate."""

    # -- the manager, as policies see it

    def queue(self, name: str | None) -> Any:
        return SimpleNamespace(name=name or "", enable=True, start=True, requires=[])

    def job(self, id: int) -> JobView:
        if id not in self._jobs:
            raise FluxError(2, f"unknown job id {id}")
        return self._view(self._jobs[id])

    def active_jobs(self) -> list[JobView]:
        return [self._view(job) for job in self._jobs.values() if job.is_active]

    def reprioritize_all(self) -> None:
        for job in self._jobs.values():
            if job.state in (PRIORITY, SCHED):
                for priority in self.host.call("job_priority_get", job=self._view(job))[-1:]:
                    if priority is not UNAVAILABLE:
                        self.set_priority(job, priority)

    def call(self, topic: str, arguments: Mapping[str, Any] | None = None, job: JobView | None = None) -> list[Any]:
        return self.host.call("plugin_call", topic=topic, arguments=arguments or {}, job=job)

    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        timer = SimpleNamespace(callback=callback)
        timer.cancel = lambda: setattr(timer, "callback", None)
        heapq.heappush(self._timers, (self._now + max(delay, 0.0), next(self._count), timer))
        return timer

    def register_service(self, topic: str, callback: Callable[[Any], Any], allow: int = 1) -> None:
        """Nobody asks while jobs are replayed."""


def _raise(error: Exception) -> None:
    raise error


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    recorded = read(request["file"])
    replay = Replay(recorded, request["conf"])
    replay.load(request["plugin"], request["options"])
    replay.run()
    outcomes = [{"id": job.id, "differences": replay.differences[job.id]} for job in recorded]
    return {"jobs": len(recorded), "outcomes": outcomes}


def main() -> int:
    """Answer the request on standard input."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the policy prints is no answer
    try:
        answer = _answer(msgspec.json.decode(sys.stdin.buffer.read()))
    except OSError as exc:
        answer = {"error": str(exc) if isinstance(exc, FluxError) else f"{exc.filename}: {exc.strerror}"}
    answers.write(msgspec.json.encode(answer).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
