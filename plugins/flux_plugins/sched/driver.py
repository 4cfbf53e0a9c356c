"""What every scheduler does: acquire resources (RFC 28), answer alloc and free requests (RFC 27).

Which jobs get which resources is up to the subclass. The R of all jobs that are placed in one turn of the loop goes
into the KVS with one commit, before the job manager is answered.
"""

from __future__ import annotations

import errno
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from flux.allocation.node import Allocation
from flux.allocation.pool import Pool, Unsatisfiable
from flux.allocation.request import ResourceRequest, read_jobspec
from flux.allocation.rset import summary, to_R
from flux.errors import FluxError
from flux.idset import IDset
from flux.job.fluid import encode as encode_id
from flux.kvs import KVSTxn, commit_async, lookup_async
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, Module, event, request
from flux_plugins.sched.protocol import AllocType, Cancel, Expiration, Feasibility, Free, Prioritize
from flux_plugins.sched.queue import Pending, Queue

__all__ = ["Forecast", "Placed", "Scheduler"]

FORECAST_DELAY = 1.0
"""Seconds that a forecast waits for further changes."""

MISMATCH = 3
"""Severity of the exception of a job whose resources are not as it has them: it goes on."""

Annotations = dict[str, Any]


class Placed(NamedTuple):
    """A job gets resources, from now until end; annotations go with them."""

    job: Pending
    allocation: Allocation
    annotations: Annotations = {}


class Forecast(NamedTuple):
    """What a job that waits is told (RFC 27 annotations, below "sched")."""

    job: Pending
    annotations: Annotations


class Scheduler(Module, ABC):
    """A scheduler without an order."""

    provides = ("sched", "feasibility")
    requires = ("resource", "job-manager", "kvs")
    after = ("resource", "job-manager", "kvs")
    ranks = "0"

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self.queue = Queue()
        self._scheduled = False
        self._forecasting: Any = None
        self._acquire: Any = None
        self._counts = {"allocated": 0, "denied": 0, "canceled": 0, "freed": 0}

    # -- what is up to the subclass

    @abstractmethod
    def depth(self) -> int:
        """How many jobs the job manager may have waiting here; 0 for all of them."""

    @abstractmethod
    def place(self, now: float) -> Iterator[Placed]:
        """Choose jobs that start now, allocating what they get from the pool."""

    @abstractmethod
    def forecast(self, now: float) -> Iterable[Forecast]:
        """Say why jobs wait, and for how long."""

    # -- start: resources, then the job manager

    def start(self) -> None:
        self._acquire = self.flux.rpc("resource.acquire", flags=FLAG_STREAMING)
        self._acquire.then(self._acquired)

    def stop(self) -> None:
        if self._forecasting is not None:
            self._forecasting.cancel()
        if self._acquire is not None:
            self._acquire.cancel("resource.acquire-cancel")
        for job in self.queue:
            self._tell(job, {})  # the next scheduler has its own

    def _acquired(self, rpc: Any) -> None:
        try:
            update = rpc.get()
        except FluxError as exc:
            if exc.errno not in (errno.ENODATA, errno.ECANCELED, errno.ENOSYS):
                self.log.error(f"no resources to schedule: {exc}")
            return
        rpc.reset()
        first = self._pool is None
        self._update(update)
        if first:
            self.spawn(self._introduce(), "hello")
        else:
            self.schedule_soon()

    def _update(self, update: dict[str, Any]) -> None:
        if self._pool is None:
            self._pool = Pool(update["resources"])
        pool = self._pool
        pool.set_up(IDset(update.get("up", "")), True)
        pool.set_up(IDset(update.get("down", "")), False)
        pool.remove(IDset(update.get("shrink", "")))
        for key, add in (("property-add", True), ("property-remove", False)):
            for name, ranks in update.get(key, {}).items():
                pool.change_property(name, IDset(ranks), add)
        pool.expiration = update.get("expiration", pool.expiration)

    @event("module.restarted")
    def module_restarted(self, msg: Message) -> None:
        """Begin again with a new job manager, or with a new resource service."""
        if msg.payload["rank"] != self.rank or msg.payload["name"] not in ("job-manager", "resource"):
            return
        self.queue = Queue()
        if msg.payload["name"] == "resource":
            self._pool = None
            self.start()
        elif self._pool is not None:
            for jobid in list(self._pool.jobs):
                self._pool.free(jobid)
            self.spawn(self._introduce(), "hello")

    async def _introduce(self) -> None:
        """Learn what running jobs hold, then tell the job manager to send requests."""
        async for job in self.flux.rpc("job-manager.sched-hello", {"partial-ok": True}, flags=FLAG_STREAMING):
            await self._recover(job)
        depth = self.depth()
        mode = {"mode": "limited", "limit": depth} if depth else {"mode": "unlimited"}
        answer = await self.flux.rpc("job-manager.sched-ready", mode)
        self.log.debug(f"ready, {answer['count']} jobs are waiting")

    async def _recover(self, job: dict[str, Any]) -> None:
        """Take in a running job. One that does not fit is told so, and goes on with what it has."""
        jobid = job["id"]
        try:
            R = job.get("R") or msgspec.json.decode(
                await self._lookup(f"{encode_id(jobid, 'kvs')}.R"), type=dict[str, Any]
            )
            problem = self.pool.claim(jobid, R, IDset(job.get("free", "")))
        except (OSError, ValueError) as exc:
            problem = str(exc)
        if problem:
            await self._report_mismatch(jobid, f"scheduler could not take in all that the job holds: {problem}")

    async def _report_mismatch(self, jobid: int, note: str) -> None:
        self.log.error(f"{encode_id(jobid)}: {note}")
        exception = {"id": jobid, "type": "scheduler-restart", "severity": MISMATCH, "note": note}
        try:
            await self.flux.rpc("job-manager.raise", exception)
        except FluxError as exc:
            self.log.error(f"{encode_id(jobid)}: it could not be told: {exc}")

    async def _lookup(self, key: str) -> bytes:
        lookup = lookup_async(self.flux, key, namespace="primary")
        await lookup
        return lookup.value()

    @property
    def pool(self) -> Pool:
        """The pool. FluxError EAGAIN while there is none."""
        if self._pool is None:
            raise FluxError(errno.EAGAIN, "the scheduler has no resources yet")
        return self._pool

    # -- allocation

    @request("alloc", service="sched")
    def alloc(self, msg: Message) -> Any:
        job = msg.payload
        try:
            asked = read_jobspec(job["jobspec"])
            self.pool.check(asked)
        except (Unsatisfiable, ValueError) as exc:
            self._deny(msg, job["id"], str(exc))
            return DEFERRED
        self.queue.add(Pending(job["id"], job["priority"], job.get("t_submit", 0.0), asked, msg))
        self.schedule_soon()
        return DEFERRED

    def deny(self, job: Pending, note: str) -> None:
        """A job that waits can never run."""
        self.queue.remove(job.id)
        self._deny(job.msg, job.id, note)

    def _deny(self, msg: Message, jobid: int, note: str) -> None:
        self._counts["denied"] += 1
        self.respond(msg, {"id": jobid, "type": AllocType.DENY, "note": note})

    def schedule_soon(self) -> None:
        """Look for jobs that may start, once in this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self.flux.call_soon(self._schedule)

    def _schedule(self) -> None:
        self._scheduled = False
        if self._pool is None:
            return
        now = time.time()
        answers: list[tuple[Message, dict[str, Any]]] = []
        txn = KVSTxn()
        for placed in self.place(now):
            answer = self._success(placed, now)
            txn.put(f"{encode_id(placed.job.id, 'kvs')}.R", answer["R"])
            answers.append((placed.job.msg, answer))
        if answers:
            commit_async(self.flux, txn, namespace="primary").then(self._committed, answers)
        if self._forecasting is None and len(self.queue):
            self._forecasting = self.flux.call_later(FORECAST_DELAY, self._annotate)

    def _success(self, placed: Placed, now: float) -> dict[str, Any]:
        job = placed.job
        self.queue.remove(job.id)
        end = self.end_of(job.request, now)
        self.pool.set_end(job.id, end)
        R = to_R(self.pool, placed.allocation, now, end, job.request.nslots)
        noted = {**dict.fromkeys(job.told), "resource_summary": summary(placed.allocation), **placed.annotations}
        return {"id": job.id, "type": AllocType.SUCCESS, "R": R, "annotations": {"sched": noted}}

    def end_of(self, asked: ResourceRequest, start: float) -> float:
        """When a job that starts then ends at the latest, in seconds since the epoch; 0 for never."""
        limit = self.pool.expiration
        if not asked.duration:
            return limit
        return min(start + asked.duration, limit) if limit else start + asked.duration

    def _committed(self, commit: Any, answers: list[tuple[Message, dict[str, Any]]]) -> None:
        try:
            commit.get()
        except FluxError as exc:
            for msg, answer in answers:
                self.pool.free(answer["id"])
                self._deny(msg, answer["id"], f"R could not be stored: {exc}")
            return
        self._counts["allocated"] += len(answers)
        for msg, answer in answers:
            self.respond(msg, answer)

    def _annotate(self) -> None:
        """Tell jobs that wait what has changed about that."""
        self._forecasting = None
        if self._pool is None:
            return
        for job, told in self.forecast(time.time()):
            self._tell(job, told)

    def _tell(self, job: Pending, told: Annotations) -> None:
        changes = {key: value for key, value in told.items() if job.told.get(key) != value}
        changes |= dict.fromkeys(job.told.keys() - told.keys())
        job.told = told
        if changes:
            self.respond(job.msg, {"id": job.id, "type": AllocType.ANNOTATE, "annotations": {"sched": changes}})

    # -- the rest of RFC 27

    @request("free", service="sched", payload=Free)
    def free(self, _msg: Message, req: Free) -> Any:
        ranks = None
        if not req.final:
            ranks = IDset().union(*(entry["rank"] for entry in req.R["execution"]["R_lite"]))
        try:
            self.pool.free(req.id, ranks)
        except ValueError as exc:
            self.log.error(f"free: {exc}")
            return DEFERRED
        self._counts["freed"] += 1
        self.schedule_soon()
        return DEFERRED

    @request("cancel", service="sched", payload=Cancel)
    def cancel(self, _msg: Message, req: Cancel) -> Any:
        job = self.queue.remove(req.id)
        if job is not None:
            self._counts["canceled"] += 1
            self.respond(job.msg, {"id": req.id, "type": AllocType.CANCEL})
            self.schedule_soon()
        return DEFERRED

    @request("prioritize", service="sched", payload=Prioritize)
    def prioritize(self, _msg: Message, req: Prioritize) -> Any:
        for jobid, priority in req.jobs:
            self.queue.prioritize(jobid, priority)
        self.schedule_soon()
        return DEFERRED

    @request("expiration", service="sched", payload=Expiration)
    def expiration(self, _msg: Message, req: Expiration) -> None:
        if req.id not in self.pool.jobs:
            raise FluxError(errno.ENOENT, f"job {encode_id(req.id)} has no allocation")
        limit = self.pool.expiration
        if req.expiration < 0 or (limit and not 0 < req.expiration <= limit):
            raise FluxError(
                errno.EINVAL, f"expiration {req.expiration:g} is outside the instance's time, until {limit:g}"
            )
        self.pool.set_end(req.id, req.expiration)
        self.schedule_soon()

    @request("resource-status", service="sched")
    def resource_status(self, _msg: Message) -> dict[str, Any]:
        pool = self.pool
        return {
            "all": to_R(pool, pool.all(), expiration=pool.expiration),
            "down": to_R(pool, pool.down()),
            "allocated": to_R(pool, pool.allocated()),
        }

    @request("check", service="feasibility", payload=Feasibility)
    def check(self, _msg: Message, req: Feasibility) -> None:
        try:
            self.pool.check(read_jobspec(req.jobspec))
        except (Unsatisfiable, ValueError) as exc:
            raise FluxError(errno.EINVAL, str(exc)) from None

    def stats(self) -> dict[str, Any]:
        return {
            "pending": len(self.queue),
            "running": 0 if self._pool is None else len(self._pool.jobs),
            **self._counts,
        }
