"""The job-manager service: moves each job through its life (RFC 16, RFC 21, RFC 27, RFC 32)."""

from __future__ import annotations

import errno
import inspect
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.message import REQUEST, RESPONSE, ROLE_OWNER, Message
from flux.module import ALL, DEFERRED, USER, Module, request
from flux.module.access import check_public
from flux_plugins.job_manager import payloads, restart, submit
from flux_plugins.job_manager.control import Control
from flux_plugins.job_manager.explain import explain
from flux_plugins.job_manager.housekeeping import read_config
from flux_plugins.job_manager.listing import Listing
from flux_plugins.job_manager.machine import IllegalEvent
from flux_plugins.job_manager.manager import Manager
from flux_plugins.job_manager.purge import read_limits
from flux_plugins.job_manager.queues import check_config
from flux_plugins.job_manager.update import Updates

__all__ = ["JobManager"]

BUILTIN_POLICIES = (
    ".priority-default",
    ".limit-job-size",
    ".limit-duration",
    ".dependency-after",
    ".dependency-singleton",
    ".dependency-string",
    ".begin-time",
    ".validate-duration",
    ".update-duration",
    ".history",
    ".post-event",
    ".update-queue",
)


class Options(msgspec.Struct):
    """plugins: the policies loaded at start, before those of the configuration."""

    plugins: list[str] = msgspec.field(default_factory=lambda: list(BUILTIN_POLICIES))


class JobManager(Module):
    """Requests come in here; `Manager` and its parts do the work."""

    name = "job-manager"
    requires = ("kvs",)
    after = ("kvs",)
    ranks = "0"
    options_type = Options
    isolatable = True

    def __init__(self) -> None:
        self.manager = Manager(self)
        self.control = Control(self.manager)
        self.listing = Listing(self.manager)
        self.updates = Updates(self.manager)

    async def start(self) -> None:
        self.manager.queues.configure(self.conf)
        self.manager.housekeeping.configure(self.conf)
        await restart.restore(self.manager)
        await self.manager.housekeeping.restore()
        for name in self.options.plugins:
            await self.manager.policies.load(name)
        await self.manager.policies.configure((self.conf.get("job-manager") or {}).get("plugins", []))
        self._dispatch = self.runner.divert(self._on_message)
        await restart.resume(self.manager)
        self.manager.policies.isolation.release()
        self.manager.lifetime.start()
        self.manager.purger.configure(self.conf)

    async def stop(self) -> None:
        self.manager.lifetime.stop()
        self.manager.purger.stop()
        self.manager.policies.remove_all()
        self.manager.journal.end()
        self.manager.waits.end()
        self.manager.idle.end()
        self.manager.housekeeping.stop()
        restart.checkpoint(self.manager)
        await self.manager.writer.drain()

    def reconfigured(self, conf: dict[str, Any]) -> None:
        check_config(conf)
        read_config(conf)
        read_limits(conf)
        self.manager.policies.host.call("conf_update", conf=conf)
        self.manager.conf = conf
        self.manager.queues.configure(conf)
        self.manager.housekeeping.configure(conf)
        self.manager.purger.configure(conf)

    def disconnected(self, sender: str) -> None:
        self.manager.scheduler.disconnected(sender)
        self.manager.execution.disconnected(sender)
        self.manager.waits.disconnected(sender)
        self.manager.idle.disconnected(sender)

    def stats(self) -> dict[str, Any]:
        manager = self.manager
        return {
            "journal": manager.journal.stats(),
            "active_jobs": len(manager.jobs),
            "inactive_jobs": len(manager.inactive),
            "max_jobid": manager.max_jobid,
            "execution": manager.execution.stats(),
            "housekeeping": manager.housekeeping.stats(),
            "eventlog": manager.writer.stats(),
            "jobtap": manager.policies.host.stats(),
            "isolated": {name: process.describe() for name, process in manager.policies.isolation.processes.items()},
        }

    # -- messages that are no plain requests to this service

    def _on_message(self, msg: Message) -> None:
        if msg.type == RESPONSE:
            self._on_response(msg)
        elif msg.type == REQUEST and msg.topic.count(".") > 1 and self._on_policy_request(msg):
            return
        else:
            self._dispatch(msg)

    def _on_response(self, msg: Message) -> None:
        try:
            with self.manager.writer.unhurried():
                if msg.topic.startswith("sched."):
                    self.manager.scheduler.on_response(msg)
                elif msg.topic == self.manager.execution.topic:
                    self.manager.execution.on_response(msg)
        except (IllegalEvent, KeyError, FluxError) as exc:
            self.log.exception(f"a response to {msg.topic} makes no sense: {msg.payload}", exc)

    def _on_policy_request(self, msg: Message) -> bool:
        entry = self.manager.policies.service(msg.topic.removeprefix(f"{self.module_name}."))
        if entry is None:
            return False
        callback, allow = entry
        try:
            if not msg.rolemask & (allow | ROLE_OWNER):
                raise FluxError(1, "Request requires owner credentials")
            result = callback(msg)
        except Exception as exc:
            self.respond_error(msg, exc)
            return True
        if inspect.iscoroutine(result):
            self.spawn(self._respond_later(msg, result), msg.topic)
        elif result is not DEFERRED:
            self.respond(msg, result)
        return True

    async def _respond_later(self, msg: Message, result: Any) -> None:
        try:
            self.respond(msg, await result)
        except Exception as exc:
            self.respond_error(msg, exc)

    # -- job-ingest, scheduler, execution service

    @request("submit", payload=payloads.Submit)
    def submit(self, msg: Message, req: payloads.Submit) -> Any:
        return submit.submit(self.manager, msg, req)

    @request("sched-hello", streaming=True)
    def sched_hello(self, msg: Message) -> Any:
        self.manager.scheduler.hello(msg)
        return DEFERRED

    @request("sched-ready", payload=payloads.SchedReady)
    def sched_ready(self, msg: Message, req: payloads.SchedReady) -> Any:
        return self.manager.scheduler.set_ready(req)

    @request("exec-hello", payload=payloads.ExecHello)
    def exec_hello(self, msg: Message, req: payloads.ExecHello) -> Any:
        self.manager.execution.hello(msg, req.service)
        return DEFERRED

    @request("resource-status")
    def resource_status(self, msg: Message) -> Any:
        from flux.resource import ResourceSet

        allocated = ResourceSet()
        for R in self.manager.scheduler.allocated():
            allocated.append(ResourceSet(R))
        return {"allocated": allocated.to_dict()}

    # -- users

    @request("raise", allow=USER, payload=payloads.Raise)
    def raise_(self, msg: Message, req: payloads.Raise) -> None:
        self.control.raise_one(msg, req)

    @request("raiseall", allow=USER, payload=payloads.RaiseAll)
    def raiseall(self, msg: Message, req: payloads.RaiseAll) -> Any:
        return self.control.raise_all(msg, req)

    @request("kill", allow=USER, payload=payloads.Kill)
    def kill(self, msg: Message, req: payloads.Kill) -> None:
        self.control.kill(msg, req)

    @request("killall", allow=USER, payload=payloads.KillAll)
    def killall(self, msg: Message, req: payloads.KillAll) -> Any:
        return self.control.kill_all(msg, req)

    @request("urgency", allow=USER, payload=payloads.Urgency)
    def urgency(self, msg: Message, req: payloads.Urgency) -> Any:
        return self.control.urgency(msg, req)

    @request("memo", allow=USER, payload=payloads.Memo)
    def memo(self, msg: Message, req: payloads.Memo) -> None:
        self.control.memo(msg, req)

    @request("update", allow=USER, payload=payloads.Update)
    async def update(self, msg: Message, req: payloads.Update) -> None:
        await self.updates.update(msg, req)

    @request("getattr", allow=USER, payload=payloads.GetAttr)
    def getattr(self, msg: Message, req: payloads.GetAttr) -> Any:
        return self.listing.getattr(msg, req)

    @request("getinfo", allow=USER)
    def getinfo(self, msg: Message) -> Any:
        check_public(self.conf, msg)
        return {"max_jobid": self.manager.max_jobid}

    @request("stats-get", allow=ALL)
    def stats_get(self, msg: Message) -> dict[str, Any]:
        check_public(self.conf, msg)
        return {**self.runner.counters.as_dict(), **self.stats()}

    @request("explain", allow=USER, payload=payloads.JobId)
    async def explain(self, msg: Message, req: payloads.JobId) -> Any:
        return await explain(self.manager, msg, req)

    @request("alloc-query", allow=USER)
    def alloc_query(self, msg: Message) -> Any:
        return self.manager.scheduler.query()

    # -- the instance owner

    @request("list", payload=payloads.ListJobs)
    def list_(self, msg: Message, req: payloads.ListJobs) -> Any:
        return self.listing.active(req.max_entries)

    @request("wait", payload=payloads.JobId)
    def wait(self, msg: Message, req: payloads.JobId) -> Any:
        return self.manager.waits.wait(msg, req.id)

    @request("drain")
    def drain(self, msg: Message) -> Any:
        return self.manager.idle.drain(msg)

    @request("idle")
    def idle(self, msg: Message) -> Any:
        return self.manager.idle.idle(msg)

    @request("set-batch-timeout", payload=payloads.BatchTimeout)
    def set_batch_timeout(self, msg: Message, req: payloads.BatchTimeout) -> None:
        if not 0 <= req.timeout < float("inf"):
            raise FluxError(errno.EINVAL, f"timeout must be a number of seconds >= 0, not {req.timeout:g}")
        self.manager.writer.set_delay(req.timeout)

    @request("housekeeping-kill", payload=payloads.HousekeepingKill)
    def housekeeping_kill(self, msg: Message, req: payloads.HousekeepingKill) -> None:
        self.manager.housekeeping.kill(req)

    @request("purge", payload=payloads.Purge)
    def purge(self, msg: Message, req: payloads.Purge) -> Any:
        return self.manager.purger.purge(req)

    @request("purge-id", payload=payloads.PurgeId)
    def purge_id(self, msg: Message, req: payloads.PurgeId) -> Any:
        return self.manager.purger.purge_one(req)

    @request("events-journal", streaming=True, payload=payloads.EventsJournal, cancel="events-journal-cancel")
    def events_journal(self, msg: Message, req: payloads.EventsJournal) -> Any:
        inactive = self.manager.inactive.values() if req.full else ()
        self.manager.journal.add(msg, req, [*inactive, *self.manager.jobs.values()])
        return DEFERRED

    # -- queues

    @request("queue-list", allow=USER)
    def queue_list(self, msg: Message) -> Any:
        return {"queues": self.manager.queues.names}

    @request("queue-status", allow=USER, payload=payloads.QueueStatus)
    def queue_status(self, msg: Message, req: payloads.QueueStatus) -> Any:
        return self.manager.queues.get(req.name).status(self.manager.scheduler.ready)

    @request("queue-enable", payload=payloads.QueueEnable)
    def queue_enable(self, msg: Message, req: payloads.QueueEnable) -> None:
        self.manager.queues.enable(req)
        restart.checkpoint(self.manager)

    @request("queue-start", payload=payloads.QueueStart)
    def queue_start(self, msg: Message, req: payloads.QueueStart) -> None:
        self.manager.queues.start(req)
        restart.checkpoint(self.manager)

    # -- policies

    @request("jobtap", payload=payloads.JobtapRequest)
    async def jobtap(self, msg: Message, req: payloads.JobtapRequest) -> Any:
        policies = self.manager.policies
        if req.query_only:
            return {"plugins": policies.host.names(), "broken": policies.isolation.broken()}
        await policies.change(msgspec.to_builtins(req))
        return None

    @request("jobtap-query", payload=payloads.JobtapQuery)
    async def jobtap_query(self, msg: Message, req: payloads.JobtapQuery) -> Any:
        return await self.manager.policies.query(req.name)
