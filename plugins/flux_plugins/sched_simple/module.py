"""The scheduler's driver: acquires resources (RFC 28), answers alloc and free requests (RFC 27).

Jobs are considered in the order of the queue and the first that does not fit holds up the rest. The R of all jobs
that are placed in one turn of the loop goes into the KVS with one commit, before the job manager is answered.
"""

from __future__ import annotations

import errno
import time
from typing import Any, Literal

import msgspec

from flux.errors import FluxError
from flux.idset import IDset
from flux.job.fluid import encode as encode_id
from flux.kvs import KVSTxn, commit_async, lookup_async
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, Module, event, request
from flux_plugins.sched_simple.pool import Pool, Unsatisfiable
from flux_plugins.sched_simple.protocol import AllocType, Cancel, Expiration, Feasibility, Free, Prioritize
from flux_plugins.sched_simple.queue import Pending, Queue
from flux_plugins.sched_simple.request import ResourceRequest, read_jobspec
from flux_plugins.sched_simple.rset import to_R

__all__ = ["SchedSimple"]


class Options(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        queue_depth: how many jobs the job manager may have waiting here; 0 for all of them, so that a request
            that can never be met is refused at once whatever waits before it.
        alloc_mode: how resources are chosen.
    """

    queue_depth: int = msgspec.field(default=0, name="queue-depth")
    alloc_mode: Literal["first-fit"] = msgspec.field(default="first-fit", name="alloc-mode")


class SchedSimple(Module):
    """First come, first served, first fit."""

    name = "sched-simple"
    provides = ("sched", "feasibility")
    requires = ("resource", "job-manager", "kvs")
    after = ("resource", "job-manager", "kvs")
    ranks = "0"
    options_type = Options

    def __init__(self) -> None:
        if self.options.queue_depth < 0:
            raise FluxError(errno.EINVAL, f"queue-depth must be 0 or more, not {self.options.queue_depth}")
        self._pool: Pool | None = None
        self._queue = Queue()
        self._scheduled = False
        self._acquire: Any = None
        self._counts = {"allocated": 0, "denied": 0, "canceled": 0, "freed": 0}

    # -- start: resources, then the job manager

    def start(self) -> None:
        self._acquire = self.flux.rpc("resource.acquire", flags=FLAG_STREAMING)
        self._acquire.then(self._acquired)

    def stop(self) -> None:
        if self._acquire is not None:
            self._acquire.cancel("resource.acquire-cancel")

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
            self._schedule_soon()

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
        self._queue = Queue()
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
        depth = self.options.queue_depth
        mode = {"mode": "limited", "limit": depth} if depth else {"mode": "unlimited"}
        answer = await self.flux.rpc("job-manager.sched-ready", mode)
        self.log.debug(f"ready, {answer['count']} jobs are waiting")

    async def _recover(self, job: dict[str, Any]) -> None:
        jobid = job["id"]
        try:
            R = job.get("R") or msgspec.json.decode(
                await self._lookup(f"{encode_id(jobid, 'kvs')}.R"), type=dict[str, Any]
            )
            self.pool.claim(jobid, R, IDset(job.get("free", "")))
        except (OSError, ValueError, KeyError) as exc:
            note = f"failed to reallocate R for running job: {exc}"
            self.log.error(f"{encode_id(jobid)}: {note}")
            await self.flux.rpc(
                "job-manager.raise", {"id": jobid, "type": "scheduler-restart", "severity": 0, "note": note}
            )

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
            self._counts["denied"] += 1
            self.respond(msg, {"id": job["id"], "type": AllocType.DENY, "note": str(exc)})
            return DEFERRED
        self._queue.add(Pending(job["id"], job["priority"], job.get("t_submit", 0.0), asked, msg))
        self._schedule_soon()
        return DEFERRED

    def _schedule_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.flux.call_soon(self._schedule)

    def _schedule(self) -> None:
        """Place every job that fits, in order, with one commit for all."""
        self._scheduled = False
        placed: list[tuple[Message, dict[str, Any]]] = []
        txn = KVSTxn()
        while (job := self._queue.first()) is not None and (R := self._place(job)) is not None:
            self._queue.remove(job.id)
            txn.put(f"{encode_id(job.id, 'kvs')}.R", R)
            placed.append((job.msg, {"id": job.id, "type": AllocType.SUCCESS, "R": R}))
        if placed:
            commit_async(self.flux, txn, namespace="primary").then(self._committed, placed)

    def _place(self, job: Pending) -> dict[str, Any] | None:
        try:
            allocation = self.pool.allocate(job.id, job.request)
        except (Unsatisfiable, ValueError) as exc:
            self._queue.remove(job.id)
            self._counts["denied"] += 1
            self.respond(job.msg, {"id": job.id, "type": AllocType.DENY, "note": str(exc)})
            self._schedule_soon()
            return None
        if allocation is None:
            return None
        now = time.time()
        return to_R(self.pool, allocation, now, self._expiration(job.request, now), job.request.nslots)

    def _expiration(self, asked: ResourceRequest, now: float) -> float:
        limit = self.pool.expiration
        if not asked.duration:
            return limit
        return min(now + asked.duration, limit) if limit else now + asked.duration

    def _committed(self, commit: Any, placed: list[tuple[Message, dict[str, Any]]]) -> None:
        try:
            commit.get()
        except FluxError as exc:
            for msg, answer in placed:
                self.pool.free(answer["id"])
                note = f"R could not be stored: {exc}"
                self.respond(msg, {"id": answer["id"], "type": AllocType.DENY, "note": note})
            return
        self._counts["allocated"] += len(placed)
        for msg, answer in placed:
            self.respond(msg, answer)

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
        self._schedule_soon()
        return DEFERRED

    @request("cancel", service="sched", payload=Cancel)
    def cancel(self, _msg: Message, req: Cancel) -> Any:
        job = self._queue.remove(req.id)
        if job is not None:
            self._counts["canceled"] += 1
            self.respond(job.msg, {"id": req.id, "type": AllocType.CANCEL})
            self._schedule_soon()
        return DEFERRED

    @request("prioritize", service="sched", payload=Prioritize)
    def prioritize(self, _msg: Message, req: Prioritize) -> Any:
        for jobid, priority in req.jobs:
            self._queue.prioritize(jobid, priority)
        self._schedule_soon()
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
            "pending": len(self._queue),
            "running": 0 if self._pool is None else len(self._pool.jobs),
            **self._counts,
        }
