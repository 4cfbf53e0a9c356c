"""Schedulers that block, written as for stock Flux's `flux.scheduler` (the guide to services; RFC 27, RFC 28).

    import heapq
    from flux.resource import InfeasibleRequest, InsufficientResources
    from flux.scheduler import Scheduler

    class FirstCome(Scheduler):
        def schedule(self):
            while self._queue:
                job = self._queue[0]
                try:
                    job.request.success(self.resources.alloc(job.jobid, job.resource_request))
                except InsufficientResources:
                    break
                except InfeasibleRequest as exc:
                    job.request.deny(str(exc))
                heapq.heappop(self._queue)

The file is loaded in place of another scheduler, like any module of `flux.brokermod`.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from flux.brokermod import BrokerModule, event_handler, request_handler
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.idset import IDset
from flux.job.fluid import encode as encode_id
from flux.kvs import KVSTxn, commit_async
from flux.resource.ResourcePool import InfeasibleRequest, ResourcePool
from flux.resource.ResourceSet import ResourceSet
from flux.scheduler.pace import Pace
from flux.scheduler.request import AllocRequest, PendingJob

if TYPE_CHECKING:
    from flux.message import Message
    from flux.module.blocking import ModuleHandle

__all__ = ["AllocRequest", "PendingJob", "Scheduler"]

_MISMATCH = 3  # severity of the exception of a job whose resources are not as it has them: it goes on


class Scheduler(BrokerModule):
    """A scheduler without a policy: override `schedule`, and what else is to be otherwise.

    Args:
        args: "queue-depth=N|unlimited", "log-level=LEVEL", "pool-class=MODULE:CLASS". ValueError for others.

    Attributes:
        resources: the pool. _queue: heap of PendingJob.
        queue_depth: how many jobs may wait here at once, a number or "unlimited".
        pool_class: what `resources` is made of, with `pool_kwargs`.
        SCHED_DELAY_MAX: most seconds that a pass waits for further events where they come faster than it takes.
        SCHED_EWMA_ALPHA: weight of the newest sample in the means that decide on it.
    """

    provides = ("sched", "feasibility")
    requires = ("resource", "job-manager", "kvs")
    after = ("resource", "job-manager", "kvs")
    ranks = "0"

    queue_depth: int | str = "unlimited"
    pool_class: type[ResourcePool] | None = None
    pool_kwargs: ClassVar[dict[str, Any]] = {}
    SCHED_DELAY_MAX = 1.0
    SCHED_EWMA_ALPHA = 0.25

    def __init__(self, handle: ModuleHandle, *args: str) -> None:
        super().__init__(handle, *args)
        self.log.level = "info"
        self._queue: list[PendingJob] = []
        self._acquire: Any = None
        self.resources: Any = None
        self._take_arguments(args)
        self._pace = Pace(handle, self, self.SCHED_DELAY_MAX, self.SCHED_EWMA_ALPHA)

    def _take_arguments(self, args: tuple[str, ...]) -> None:
        for arg in args:
            key, _, value = arg.partition("=")
            if key == "queue-depth":
                self.queue_depth = value
            elif key == "log-level":
                self.log.level = value
            elif key == "pool-class":
                self.pool_class = _named_class(value)
            else:
                raise ValueError(f"argument {arg!r}: queue-depth=, log-level= and pool-class= are what there is")
        if self.queue_depth != "unlimited" and not (str(self.queue_depth).isdecimal() and int(self.queue_depth) > 0):
            raise ValueError(f"queue-depth={self.queue_depth}: a number of at least 1, or unlimited")

    # -- start

    def run(self) -> None:
        """Learn what there is and who holds it, then serve until stopped."""
        for service in self.provides:
            self.handle.service_register(service).get()
        self._begin()
        super().run()

    def _begin(self) -> None:
        self._queue.clear()
        self._acquire = self.handle.rpc("resource.acquire", flags=FLUX_RPC_STREAMING)
        update = self._acquire.get()
        made = self.pool_class or ResourcePool
        self.resources = made(update["resources"], log=self.log, **self.pool_kwargs)
        self._apply(update)
        self._hello()
        limited = {} if self.queue_depth == "unlimited" else {"limit": int(self.queue_depth)}
        self.handle.rpc("job-manager.sched-ready", {"mode": "limited" if limited else "unlimited", **limited}).get()
        self._acquire.reset()
        self._acquire.then(self._acquired)

    def _acquired(self, rpc: Any) -> None:
        try:
            update = rpc.get()
        except FluxError as exc:
            if exc.errno not in (errno.ENODATA, errno.ECANCELED, errno.ENOSYS):
                self.log.error(f"no resources to schedule: {exc}")
            return
        rpc.reset()
        self._apply(update)
        self.resource_update()
        self._request_schedule()

    def _apply(self, update: Mapping[str, Any]) -> None:
        """An update of RFC 28."""
        pool = self.resources
        for key, change in (("up", pool.mark_up), ("down", pool.mark_down), ("shrink", pool.remove_ranks)):
            if ids := update.get(key):
                change(ids)
        for key, add in (("property-add", True), ("property-remove", False)):
            for name, ranks in update.get(key, {}).items():
                pool.change_property(name, ranks, add)
        pool.expiration = update.get("expiration", pool.expiration)

    def _hello(self) -> None:
        hello = self.handle.rpc("job-manager.sched-hello", {"partial-ok": True}, flags=FLUX_RPC_STREAMING)
        try:
            while True:
                self._recover(hello.get())
                hello.reset()
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                raise

    def _recover(self, job: Mapping[str, Any]) -> None:
        """Take in a running job. One that does not fit is told so, and goes on with what it has."""
        try:
            R = ResourceSet(job["R"])
            if freed := job.get("free"):
                R.remove_ranks(IDset(freed))
            self.hello(job["id"], job["priority"], job["userid"], job["t_submit"], R)
        except ValueError as exc:
            note = f"scheduler could not take in all that the job holds: {exc}"
            self.log.error(f"{encode_id(job['id'])}: {note}")
            exception = {"id": job["id"], "type": "scheduler-restart", "severity": _MISMATCH, "note": note}
            self.handle.rpc("job-manager.raise", exception).then(self._raised, job["id"])

    def _raised(self, rpc: Any, jobid: int) -> None:
        try:
            rpc.get()
        except FluxError as exc:
            self.log.error(f"{encode_id(jobid)}: it could not be told: {exc}")

    @event_handler("module.restarted", prefix=False)
    def _restarted(self, msg: Message) -> None:
        """Begin again with a new job manager, or with a new resource service."""
        if msg.payload["rank"] == self.handle.get_rank() and msg.payload["name"] in ("job-manager", "resource"):
            self._acquire.cancel("resource.acquire-cancel")
            self._begin()

    # -- what may be overridden

    def schedule(self) -> Any:
        """Give resources to jobs of `_queue`. A generator goes on in each turn of the loop, and ends at an event."""

    def forecast(self) -> Any:
        """Annotate jobs that wait, after `schedule`. A generator goes on in each turn of the loop, to its end."""

    def hello(self, jobid: int, priority: int, userid: int, t_submit: float, R: ResourceSet) -> None:
        """A running job holds R. ValueError says what of that cannot be."""
        self.resources.register_alloc(jobid, R)

    def alloc(
        self, request: AllocRequest, jobid: int, priority: int, userid: int, t_submit: float, jobspec: dict[str, Any]
    ) -> None:
        """A job wants resources: by default it goes into `_queue`, or is denied when it can never be met."""
        try:
            asked = self.resources.parse_resource_request(jobspec)
            self.resources.check_feasibility(asked)
        except InfeasibleRequest as exc:
            request.deny(str(exc))
        else:
            heapq.heappush(self._queue, PendingJob(jobid, priority, t_submit, request, asked))

    def free(self, jobid: int, R: ResourceSet, final: bool = False) -> None:
        """A job gives back R; final: it has nothing left."""
        self.resources.free(jobid, R, final)

    def cancel(self, jobid: int) -> None:
        """A request is taken back."""
        for job in [job for job in self._queue if job.jobid == jobid]:
            self._queue.remove(job)
            heapq.heapify(self._queue)
            job.request.cancel()

    def prioritize(self, jobs: list[list[int]]) -> None:
        """Jobs that wait have other priorities: [id, priority] each."""
        priorities = {job[0]: job[1] for job in jobs}
        for job in self._queue:
            job.priority = priorities.get(job.jobid, job.priority)
        heapq.heapify(self._queue)

    def expiration(self, msg: Message, jobid: int, expiration: float) -> None:
        """A job is to end then, in seconds since the epoch. Answers the request."""
        self.resources.update_expiration(jobid, expiration)
        self.handle.respond(msg)

    def feasibility_check(self, msg: Message, jobspec: dict[str, Any]) -> None:
        """Could a job ever run? Answers the request."""
        self.resources.check_feasibility(self.resources.parse_resource_request(jobspec))
        self.handle.respond(msg)

    def resource_update(self) -> None:
        """What is there, or up, has changed; `schedule` follows."""

    def stats_get(self) -> dict[str, Any]:
        """What `flux module stats` shows."""
        return {**self._pace.stats(), "pending_jobs": len(self._queue)}

    def start_schedule(self) -> None:
        """Have a pass of `schedule` soon, after events; a generator that runs is ended."""
        self._pace.start()

    @property
    def _sched_pending(self) -> bool:
        """True from `start_schedule` until the pass begins; what overrides it says when that is."""
        return self._pace.pending

    @_sched_pending.setter
    def _sched_pending(self, pending: bool) -> None:
        self._pace.pending = pending

    def _request_schedule(self) -> None:
        """Something has happened; several things at once make one pass."""
        self._pace.request()

    # -- requests

    def store(self, request: AllocRequest, R: dict[str, Any], annotations: dict[str, Any]) -> None:
        """Put R into the KVS, then answer the request."""
        txn = KVSTxn()
        txn.put(f"{encode_id(request.jobid, 'kvs')}.R", R)
        commit_async(self.handle, txn, namespace="primary").then(self._stored, (request, R, annotations))

    def _stored(self, commit: Any, answer: tuple[AllocRequest, dict[str, Any], dict[str, Any]]) -> None:
        request, R, annotations = answer
        try:
            commit.get()
        except FluxError as exc:
            self.resources.free(request.jobid)
            request.deny(f"R could not be stored: {exc}")
        else:
            request.granted(R, annotations)

    @request_handler("sched.alloc", prefix=False)
    def _on_alloc(self, msg: Message) -> None:
        job = msg.payload
        request = AllocRequest(self, msg)
        self.alloc(request, job["id"], job["priority"], job["userid"], job["t_submit"], job["jobspec"])
        self._request_schedule()

    @request_handler("sched.free", prefix=False)
    def _on_free(self, msg: Message) -> None:
        try:
            self.free(msg.payload["id"], ResourceSet(msg.payload["R"]), bool(msg.payload.get("final")))
        except ValueError as exc:
            self.log.error(f"free: {exc}")
        self._request_schedule()

    @request_handler("sched.cancel", prefix=False)
    def _on_cancel(self, msg: Message) -> None:
        self.cancel(msg.payload["id"])
        self._request_schedule()

    @request_handler("sched.prioritize", prefix=False)
    def _on_prioritize(self, msg: Message) -> None:
        self.prioritize(msg.payload["jobs"])
        self._request_schedule()

    @request_handler("sched.expiration", prefix=False)
    def _on_expiration(self, msg: Message) -> None:
        self._guarded(msg, self.expiration, msg.payload["id"], msg.payload["expiration"])
        self._request_schedule()

    @request_handler("sched.resource-status", prefix=False)
    def _on_resource_status(self, msg: Message) -> None:
        pool = self.resources
        answer = {"all": pool.to_dict(), "down": pool.copy_down(), "allocated": pool.copy_allocated()}
        self.handle.respond(msg, answer)

    @request_handler("feasibility.check", prefix=False)
    def _on_feasibility(self, msg: Message) -> None:
        self._guarded(msg, self.feasibility_check, msg.payload["jobspec"])

    @request_handler("stats-get", allow_guest=True)
    def _on_stats_get(self, msg: Message) -> None:
        self.handle.respond(msg, self.stats_get())

    def _guarded(self, msg: Message, function: Any, *args: Any) -> None:
        """Call what answers a request; what it refuses is the answer, and not the end of the module."""
        try:
            function(msg, *args)
        except (OSError, ValueError) as exc:
            self.handle.respond_error(msg, errno.EINVAL, str(exc))


def _named_class(name: str) -> type[ResourcePool]:
    """The pool class of "MODULE:CLASS", or `pool_class` of "MODULE". ValueError when it is none."""
    from importlib import import_module

    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute or "pool_class")
    except (ImportError, AttributeError, ValueError) as exc:
        _refuse(f"pool-class={name}: {exc}")
    if not (isinstance(found, type) and issubclass(found, ResourcePool)):
        _refuse(f"pool-class={name}: that is no flux.resource.ResourcePool")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
