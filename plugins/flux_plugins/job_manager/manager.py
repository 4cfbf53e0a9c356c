"""The jobs of an instance, and what happens to them: events in, actions out.

Everything that happens to a job goes through `Manager.post`. The parts that carry actions out (scheduler,
execution, policies, journal, writer) know the manager and not each other.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flux.constants import FLUX_JOB_DEBUG
from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.job.fluid import encode
from flux.module import Module
from flux_plugins.job_manager.alloc import Scheduler
from flux_plugins.job_manager.housekeeping import Housekeeping
from flux_plugins.job_manager.idle import IdleWaits
from flux_plugins.job_manager.job import INACTIVE, NEW, PRIORITY, SCHED, Event, Job
from flux_plugins.job_manager.journal import Journal
from flux_plugins.job_manager.lifetime import Lifetime
from flux_plugins.job_manager.machine import Action, merge, next_actions, transition
from flux_plugins.job_manager.policies import STATE_HOOKS, Policies
from flux_plugins.job_manager.purge import Purger
from flux_plugins.job_manager.queues import Queues
from flux_plugins.job_manager.start import Execution
from flux_plugins.job_manager.subscriptions import Subscriptions
from flux_plugins.job_manager.wait import Waits
from flux_plugins.job_manager.writer import EventWriter

__all__ = ["Manager"]


class Hold:
    """A job's state in which isolated policies have yet to answer."""

    def __init__(self, state: int) -> None:
        self.state = state


class Manager:
    """The job manager's state.

    Attributes:
        jobs, inactive: job id to job; inactive ones in the order they ended.
        hosts: that of each broker.
        max_jobid: greatest id seen. submitting: held while isolated policies are asked about new jobs.
    """

    def __init__(self, module: Module) -> None:
        self.flux = module.flux
        self.log = module.log
        self.spawn = module.spawn
        self.conf = module.conf
        self.uri = str(module.attrs.get("local-uri", ""))
        self.hosts = list(Hostlist(module.attrs.get("hostlist") or []))
        self.owner = int(module.attrs.get("security.owner", os.getuid()))
        self.jobs: dict[int, Job] = {}
        self.inactive: dict[int, Job] = {}
        self.max_jobid = 0
        self.writer = EventWriter(module.flux, module.log)
        self.journal = Journal(module)
        self.scheduler = Scheduler(self)
        self.execution = Execution(self)
        self.waits = Waits(self)
        self.idle = IdleWaits(self)
        self.queues = Queues(lambda _name: self.scheduler.schedule(), self.scheduler.suspend)
        self.policies = Policies(self)
        self.subscriptions = Subscriptions(lambda exc: self.log.exception(f"a policy that follows a job: {exc}", exc))
        self.lifetime = Lifetime(self)
        self.purger = Purger(self)
        self.housekeeping = Housekeeping(self)
        self.submitting = asyncio.Lock()
        self._settling: set[int] = set()
        self._held: dict[int, Hold] = {}
        self._actions: dict[Action, Callable[[Job], None]] = {
            Action.POST_DEPEND: lambda job: self.post(job, "depend"),
            Action.QUEUE_ALLOC: self.scheduler.queue,
            Action.DEQUEUE_ALLOC: self.scheduler.dequeue,
            Action.CANCEL_ALLOC: self.scheduler.cancel,
            Action.PRIORITIZE_ALLOC: self.scheduler.prioritize,
            Action.START: self.execution.start,
            Action.FREE: self.scheduler.free,
            Action.POST_CLEAN: lambda job: self.post(job, "clean"),
        }

    # -- events

    def post(self, job: Job, name: str, context: Mapping[str, Any] | None = None, timestamp: float = 0.0) -> None:
        """An event happens to a job: it is applied, written, announced, and what follows from it is done.

        Events of a job that has not been validated are held back until it has been.

        Raises:
            IllegalEvent: it cannot happen to the job in its state.
        """
        event: dict[str, Any] = {"timestamp": timestamp or time.time(), "name": name}
        if context is not None:
            event["context"] = context
        previous = job.state
        transition(job, event)
        if job.state == NEW:
            return
        for entry in job.events if previous == NEW else (event,):
            self.writer.append(job.id, entry)
            self.journal.publish(job, entry)
        state = job.state
        results = self._entered(job, event, previous) if state != previous else None
        if self.policies.host.has("job_event"):
            self.policies.host.call("job_event", job=self.policies.view(job), event=event)
        if job.id in self.subscriptions:
            self.subscriptions.publish(self.policies.view(job), event)
        if results is not None:
            self._act(job, state, results)
        self.advance(job)

    def advance(self, job: Job) -> None:
        """Do what is to be done for a job as it is now, unless policies have yet to answer."""
        if self._held:
            hold = self._held.get(job.id)
            if hold is not None and hold.state == job.state:
                return
        for action in next_actions(job):
            self._actions[action](job)

    def _entered(self, job: Job, event: Event, previous: int) -> list[Any] | None:
        """What policies say of a job's new state; None while isolated ones have yet to answer."""
        state = job.state
        hook = STATE_HOOKS[state]
        if self.policies.must_wait(hook):
            hold = self._held[job.id] = Hold(state)
            self.spawn(self._enter_later(job, hold, hook, event, previous), f"{hook} of {job.id}")
            return None
        return self.policies.call_for(job, hook, event=event, prev_state=previous)

    async def _enter_later(self, job: Job, hold: Hold, hook: str, event: Event, previous: int) -> None:
        """Go on once isolated policies have answered, if the job is still where it was."""
        results = await self.policies.call_async(job, hook, event=event, prev_state=previous)
        if self._held.get(job.id) is not hold:
            return
        del self._held[job.id]
        if job.state == hold.state:
            self._act(job, hold.state, results)
            self.advance(job)

    def _act(self, job: Job, state: int, results: list[Any]) -> None:
        if state == PRIORITY:
            self._assign_priority(job, results)
        elif state == SCHED and results and job.state == SCHED:
            self.scheduler.grant(job, dict(results[-1]))
        elif state == INACTIVE:
            self._retire(job)

    def _retire(self, job: Job) -> None:
        self.jobs.pop(job.id, None)
        self.inactive[job.id] = job
        self.policies.call_for(job, "job_inactive_add")
        self._settling.add(job.id)
        self.writer.on_commit(lambda _error: self._settled(job))

    def _settled(self, job: Job) -> None:
        self._settling.discard(job.id)
        self.waits.job_inactive(job)
        self.idle.check()
        self.purger.job_inactive()

    def is_settling(self, job: Job) -> bool:
        """True while the last events of an inactive job are being committed."""
        return job.id in self._settling

    # -- priority

    def reprioritize(self, job: Job) -> None:
        """Ask the policies for a job's priority, and assign it when it is another."""
        if job.state not in (PRIORITY, SCHED):
            return
        if self.policies.must_wait("job_priority_get"):
            self.spawn(self._reprioritize_later(job), f"priority of {job.id}")
        else:
            self._assign_priority(job, self.policies.call_for(job, "job_priority_get"))

    async def _reprioritize_later(self, job: Job) -> None:
        self._assign_priority(job, await self.policies.call_async(job, "job_priority_get"))

    def _assign_priority(self, job: Job, results: Iterable[Any]) -> None:
        priority = self.policies.priority_of(results)
        if priority is not None:
            self.set_priority(job, priority)

    def set_priority(self, job: Job, priority: int) -> None:
        if job.state == PRIORITY or (job.state == SCHED and priority != job.priority):
            self.post(job, "priority", {"priority": priority})

    # -- what the parts and the policies ask for

    def job(self, jobid: int) -> Job | None:
        """An active or inactive job."""
        return self.jobs.get(jobid) or self.inactive.get(jobid)

    def raise_exception(
        self,
        job: Job,
        type: str,
        severity: int,
        note: str = "",
        userid: int | None = None,
        wait_status: int | None = None,
    ) -> None:
        """Post an exception and publish it to those who act on it."""
        context: dict[str, Any] = {
            "type": type,
            "severity": severity,
            "note": note,
            "userid": self.owner if userid is None else userid,
        }
        published: dict[str, Any] = {"id": job.id, "type": type, "severity": severity}
        if wait_status is not None:
            context["wait_status"] = published["wait_status"] = wait_status
        self.post(job, "exception", context)
        self.flux.event_send("job-exception", published, private=True)

    def update_jobspec(self, job: Job, updates: Mapping[str, Any]) -> None:
        """Change a jobspec. updates: dotted path to new value."""
        self.post(job, "jobspec-update", updates)
        self.policies.call_for(job, "job_update", updates=updates)

    def extend(self, job: Job, expiration: float) -> None:
        """Move the end of a running job. expiration: seconds since the epoch, 0 for none."""
        self.post(job, "resource-update", {"expiration": expiration})
        self.execution.expire(job, expiration)

    def annotate(self, job: Job, annotations: Mapping[str, Any]) -> None:
        """Merge annotations (RFC 27) and tell those who follow the journal; not written until `alloc`."""
        merged = dict(job.annotations)
        merge(merged, annotations)
        job.annotations = merged
        context = {"annotations": merged or None}
        self.journal.publish(job, {"timestamp": time.time(), "name": "annotations", "context": context})

    def volatile_memo(self, job: Job, memo: Mapping[str, Any]) -> None:
        """A memo that is not written, only told to those who follow the journal."""
        merge(job.memo, memo)
        self.journal.publish(job, {"timestamp": time.time(), "name": "memo", "context": memo})

    def debug_event(self, job: Job, name: str) -> None:
        """Post an event that only a job with the debug flag gets."""
        if job.flags & FLUX_JOB_DEBUG and job.is_active:
            self.post(job, name)

    def put_R(self, job: Job) -> None:
        self.writer.put(f"{encode(job.id, 'kvs')}.R", job.R)

    def forget(self, job: Job) -> None:
        """Drop an inactive job and its data."""
        self.policies.call_for(job, "job_inactive_remove")
        self.policies.call_for(job, "job_destroy")
        self.inactive.pop(job.id, None)
        self.waits.forget(job.id)
        self.writer.unlink(encode(job.id, "kvs"))

    def require_active(self, jobid: int, errnum: int, unknown: str = "unknown job id") -> Job:
        """An active job. FluxError with errnum when there is none."""
        job = self.jobs.get(jobid)
        if job is None:
            raise FluxError(errnum, "job is inactive" if jobid in self.inactive else unknown)
        return job
