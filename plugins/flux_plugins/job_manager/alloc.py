"""The scheduler's side of the job manager: resource allocation (RFC 27).

Requests and responses are matched by job id, with match tag 0.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import NODEID_ANY, REQUEST, Message
from flux_plugins.job_manager.job import Alloc, Job
from flux_plugins.job_manager.machine import merge
from flux_plugins.job_manager.payloads import SchedReady

if TYPE_CHECKING:
    from flux_plugins.job_manager.allocation import Work
    from flux_plugins.job_manager.manager import Manager

__all__ = ["Scheduler"]

SUCCESS, ANNOTATE, DENY, CANCEL = range(4)


class Scheduler:
    """The queue of jobs that want resources, and the requests that are with the scheduler.

    Attributes:
        ready: a scheduler has said that it takes requests. pending: requests it has not answered.
    """

    topic = "sched.alloc"

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._heaps: dict[str, list[tuple[int, int]]] = {}
        self._reprioritized: dict[int, Job] = {}
        self._scheduled = False
        self._sender = ""
        self.ready = False
        self.limit = 0
        self.pending = 0
        self.queued = 0

    # -- actions of the state machine

    def queue(self, job: Job) -> None:
        """The job wants resources."""
        job.alloc = Alloc.QUEUED
        self.queued += 1
        self._push(job)

    def _push(self, job: Job) -> None:
        job.alloc_priority = job.priority
        heap = self._heaps.setdefault(self._manager.queues.name_of(job), [])
        heapq.heappush(heap, (-job.priority, job.id))
        self.schedule()

    def dequeue(self, job: Job) -> None:
        """The job wants no resources any more, before it was asked for them."""
        job.alloc = Alloc.NONE
        self.queued -= 1
        self._manager.advance(job)

    def cancel(self, job: Job) -> None:
        """The job wants no resources any more; the scheduler answers with CANCEL, or too late with SUCCESS."""
        job.alloc = Alloc.CANCELING
        self._manager.flux.notify("sched.cancel", {"id": job.id})

    def prioritize(self, job: Job) -> None:
        """The priority of a job that waits for resources has changed."""
        if job.alloc is Alloc.QUEUED:
            self._push(job)
            return
        job.alloc_priority = job.priority
        self._reprioritized[job.id] = job
        self.schedule()

    def free(self, job: Job) -> None:
        """Give the job's resources back."""
        if not job.bypass and job.R is not None and not self._manager.housekeeping.start(job):
            self.give_back(job.id, job.R)
        self._manager.post(job, "free")

    def give_back(self, jobid: int, R: dict[str, Any], final: bool = True) -> None:
        """Give resources of a job back to the scheduler; one that is not there yet will not hear of them."""
        if self.ready:
            self._send("sched.free", {"id": jobid, "R": R, "final": final})

    # -- sending

    def schedule(self) -> None:
        """Look for jobs to ask the scheduler about, once in this turn of the loop."""
        if self.ready and not self._scheduled:
            self._scheduled = True
            self._manager.flux.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if not self.ready:
            return
        reprioritized, self._reprioritized = self._reprioritized, {}
        waiting = [[job.id, job.priority] for job in reprioritized.values() if job.alloc is Alloc.PENDING]
        if waiting:
            self._manager.flux.notify("sched.prioritize", {"jobs": waiting})
        while not self.limit or self.pending < self.limit:
            job = self._pop()
            if job is None:
                return
            self._request(job)

    def _pop(self) -> Job | None:
        """The queued job of the highest priority in a queue that is started."""
        heads = [(heap[0], name) for name, heap in self._heaps.items() if self._prune(heap) and self._runs(name)]
        if not heads:
            return None
        (_, jobid), name = min(heads)
        heapq.heappop(self._heaps[name])
        return self._manager.jobs[jobid]

    def _runs(self, queue: str) -> bool:
        return self._manager.queues.is_started(queue)

    def _prune(self, heap: list[tuple[int, int]]) -> bool:
        """Drop entries whose job has left the queue or changed its priority; False when none is left."""
        jobs = self._manager.jobs
        while heap:
            job = jobs.get(heap[0][1])
            if job is not None and job.alloc is Alloc.QUEUED and job.alloc_priority == -heap[0][0]:
                return True
            heapq.heappop(heap)
        return False

    def _request(self, job: Job) -> None:
        job.alloc = Alloc.PENDING
        self.queued -= 1
        self.pending += 1
        request = {
            "id": job.id,
            "priority": job.priority,
            "userid": job.userid,
            "t_submit": job.t_submit,
            "jobspec": job.jobspec,
        }
        self._send(self.topic, request)
        self._manager.debug_event(job, "debug.alloc-request")

    def _send(self, topic: str, payload: dict[str, Any]) -> None:
        self._manager.flux.send_message(Message(REQUEST, topic, payload, aux=NODEID_ANY, routes=[]))

    # -- what the scheduler asks

    def hello(self, msg: Message) -> None:
        """Answer with each job that has resources, then end the stream."""
        self._sender = msg.sender
        self._reset()
        for job, R in self._held():
            self._manager.flux.respond(msg, _hello(job, R))
        self._manager.flux.respond_error(msg, errno.ENODATA)

    def set_ready(self, req: SchedReady) -> dict[str, int]:
        """The scheduler takes requests from now on."""
        if req.mode == "limited" and req.limit < 1:
            raise FluxError(errno.EINVAL, f"limit must be at least 1 in limited mode, got {req.limit}")
        self.limit = req.limit if req.mode == "limited" else 0
        self.ready = True
        self.schedule()
        return {"count": self.queued}

    def disconnected(self, sender: str) -> None:
        """A client went away; was it the scheduler?"""
        if sender == self._sender:
            self._reset()

    def _reset(self) -> None:
        """The scheduler is gone, and with it every request it had."""
        self.ready = False
        self.pending = 0
        for job in list(self._manager.jobs.values()):
            if job.alloc is Alloc.PENDING:
                self.queue(job)
            elif job.alloc is Alloc.CANCELING:
                job.alloc = Alloc.NONE
                self._manager.advance(job)
        self._manager.idle.check()

    def suspend(self, queue: str) -> None:
        """A queue was stopped: take its requests back from the scheduler."""
        for job in self._manager.jobs.values():
            if job.alloc is Alloc.PENDING and self._manager.queues.name_of(job) == queue:
                self.cancel(job)

    # -- what the scheduler answers

    def on_response(self, msg: Message) -> None:
        """Take a response to `sched.alloc`, or an error response to `sched.free`."""
        if msg.aux:
            if self.ready:
                self._manager.log.error("the scheduler refused a request and is taken for dead", error=str(msg.error))
                self._reset()
            return
        payload = msg.payload or {}
        job = self._manager.jobs.get(payload.get("id", 0))
        if job is None or job.alloc not in (Alloc.PENDING, Alloc.CANCELING):
            self._manager.log.error("the scheduler answered for a job that had asked nothing", payload=payload)
            return
        if payload.get("type") == ANNOTATE:
            self._manager.annotate(job, payload.get("annotations") or {})
            return
        canceled = job.alloc is Alloc.CANCELING
        job.alloc = Alloc.NONE
        self.pending -= 1
        self.schedule()
        self._settled(job, payload, canceled)
        self._manager.idle.check()

    def _settled(self, job: Job, payload: dict[str, Any], canceled: bool) -> None:
        kind = payload.get("type")
        if kind == SUCCESS and isinstance(payload.get("R"), dict):
            self._granted(job, payload)
        elif kind == DENY and not canceled:
            job.annotations = {}
            self._manager.raise_exception(job, "alloc", 0, payload.get("note") or "the scheduler denied the request")
        elif kind in (CANCEL, DENY):
            self._manager.advance(job)
        else:
            self._manager.log.error("the scheduler's answer is not RFC 27's", payload=payload)
            self._reset()

    def _granted(self, job: Job, payload: dict[str, Any]) -> None:
        job.R = {key: value for key, value in payload["R"].items() if key != "scheduling"}
        if payload.get("annotations"):
            annotations = dict(job.annotations)
            merge(annotations, payload["annotations"])
            job.annotations = annotations
        self._manager.post(job, "alloc", {"annotations": job.annotations} if job.annotations else None)

    def grant(self, job: Job, R: dict[str, Any]) -> None:
        """A policy gives a job its resources, past the scheduler."""
        job.R = R
        self._manager.put_R(job)
        self._manager.post(job, "alloc", {"bypass": True})

    # -- statistics

    def allocated(self) -> Iterator[dict[str, Any]]:
        """R of each job that has resources of the scheduler's."""
        for _job, R in self._held():
            yield R

    def _held(self) -> Iterator[tuple[Job | Work, dict[str, Any]]]:
        """Each job that has resources of the scheduler's, or had and housekeeping has them, and which."""
        for job in self._manager.jobs.values():
            if job.has_resources and not job.bypass and job.R is not None:
                yield job, job.R
        yield from self._manager.housekeeping.held()

    def query(self) -> dict[str, int]:
        running = sum(job.has_resources for job in self._manager.jobs.values())
        return {"queue_length": self.queued, "alloc_pending": self.pending, "running": running}


def _hello(job: Job | Work, R: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": job.id,
        "priority": job.priority,
        "userid": job.userid,
        "t_submit": job.t_submit,
        "R": R,
    }
