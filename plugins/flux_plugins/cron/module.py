"""The cron service on rank 0 (flux-cron(1)): a clock, event subscriptions and processes for the cron table."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from collections import Counter
from typing import Any, ClassVar

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.message import FLAG_STREAMING, Message
from flux.module import Module, request
from flux.rpc import RPC
from flux.stdio import decode_io
from flux_plugins.cron.entry import Entry, Task
from flux_plugins.cron.protocol import CreateRequest, DeleteRequest, IdRequest, SyncRequest
from flux_plugins.cron.table import LOG_ERR, LOG_INFO, Action, CronTable, Run
from flux_plugins.cron.triggers import EventTrigger

__all__ = ["Cron", "CronOptions"]

_STDOUT_AND_STDERR = 3
_EPSILON = 0.015


class CronOptions(msgspec.Struct):
    """Arguments of the module.

    Attributes:
        sync: event that tasks wait for; "" for none.
        sync_epsilon: seconds after it within which a task runs at once.
    """

    sync: str = ""
    sync_epsilon: float = _EPSILON


class Cron(Module):
    """Run commands at a time, at an interval or after events."""

    name = "cron"
    requires = ("rexec",)
    ranks = "0"
    options_type: ClassVar[type[msgspec.Struct] | None] = CronOptions

    def __init__(self) -> None:
        self._table = CronTable(sync_epsilon=self.options.sync_epsilon)
        self._topics: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        if self.options.sync:
            await self._synchronize(self.options.sync, None)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for entry in self._table.entries.values():
            self._signal(entry.current)

    def stats(self) -> dict[str, Any]:
        entries = self._table.entries.values()
        return {
            "entries": len(entries),
            "stopped": sum(entry.is_stopped for entry in entries),
            "running": sum(entry.current is not None for entry in entries),
        }

    # -- requests

    @request("create", payload=CreateRequest)
    async def create(self, _msg: Message, req: CreateRequest) -> dict[str, Any]:
        entry = self._table.create(req, time.time())
        if isinstance(entry.trigger, EventTrigger):
            await self._subscribe(entry.trigger.topic)
        self._arm()
        return entry.as_dict()

    @request("list")
    def list(self, _msg: Message) -> dict[str, Any]:
        return {"entries": [entry.as_dict() for entry in self._table.entries.values()]}

    @request("start", payload=IdRequest)
    def start_entry(self, _msg: Message, req: IdRequest) -> dict[str, Any]:
        entry = self._table.start(req.id, time.time())
        self._arm()
        return entry.as_dict()

    @request("stop", payload=IdRequest)
    def stop_entry(self, _msg: Message, req: IdRequest) -> dict[str, Any]:
        return self._table.stop(req.id).as_dict()

    @request("delete", payload=DeleteRequest)
    async def delete(self, _msg: Message, req: DeleteRequest) -> dict[str, Any]:
        entry = self._table.delete(req.id)
        if req.kill:
            self._signal(entry.current)
        if isinstance(entry.trigger, EventTrigger):
            await self._unsubscribe(entry.trigger.topic)
        return entry.as_dict()

    @request("sync", payload=SyncRequest)
    async def sync(self, _msg: Message, req: SyncRequest) -> dict[str, Any]:
        if (req.sync_epsilon or 0) < 0:
            raise FluxError(errno.EINVAL, f"sync_epsilon is 0 seconds or more, not {req.sync_epsilon:g}")
        if req.disable and req.topic:
            raise ProtocolError("either `topic` or `disable`, not both")
        if req.disable or req.topic:
            await self._synchronize(req.topic or "", req.sync_epsilon)
        elif req.sync_epsilon is not None:
            self._table.sync_epsilon = req.sync_epsilon
        if not self._table.sync_event:
            return {"sync_disabled": True}
        return {"sync_event": self._table.sync_event, "sync_epsilon": self._table.sync_epsilon}

    async def _synchronize(self, topic: str, epsilon: float | None) -> None:
        before = self._table.sync_event
        if topic:
            await self._subscribe(topic)
        self._perform(self._table.set_sync(topic, epsilon, time.time()))
        if before:
            await self._unsubscribe(before)

    # -- clock and events

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        when = self._table.next_time()
        self._timer = None if when is None else self.flux.call_later(max(0.0, when - time.time()), self._wake)

    def _wake(self) -> None:
        self._perform(self._table.on_time(time.time()))

    async def _subscribe(self, topic: str) -> None:
        self._topics[topic] += 1
        if self._topics[topic] == 1:
            await self.event_subscribe(topic, lambda _msg: self._perform(self._table.on_event(topic, time.time())))

    async def _unsubscribe(self, topic: str) -> None:
        self._topics[topic] -= 1
        if self._topics[topic] == 0:
            await self.event_unsubscribe(topic)

    # -- tasks

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Run):
                self._run(action.entry, action.task)
            else:
                self.flux.log(action.level, action.text)
        self._arm()

    def _run(self, entry: Entry, task: Task) -> None:
        req = entry.request
        cmd: dict[str, Any] = {"cmdline": ["sh", "-c", req.command], "env": req.environ or {}, "opts": {}}
        if req.cwd is not None:
            cmd["cwd"] = req.cwd
        payload = {"cmd": {**cmd, "channels": []}, "flags": _STDOUT_AND_STDERR, "local_flags": 0}
        self.flux.rpc("rexec.exec", payload, req.rank, FLAG_STREAMING).then(self._responses, entry, task)

    def _responses(self, rpc: RPC, entry: Entry, task: Task) -> None:
        while rpc.is_ready():
            try:
                self._response(rpc.get(), entry, task)
            except FluxError as exc:
                if not task.is_over:
                    self._perform(self._table.on_lost(entry, task, exc, time.time()))
            rpc.reset()

    def _response(self, payload: dict[str, Any], entry: Entry, task: Task) -> None:
        kind, now = payload["type"], time.time()
        if kind == "started":
            self._table.on_started(task, payload["pid"], now)
            if entry.request.timeout > 0:
                self.flux.call_later(entry.request.timeout, lambda: self._time_out(task))
        elif kind == "finished":
            self._perform(self._table.on_exit(entry, task, payload["status"], now))
        elif kind == "output" and "data" in payload["io"]:
            self._log_output(entry, payload["io"])

    def _log_output(self, entry: Entry, io: dict[str, Any]) -> None:
        chunk = decode_io(io)
        level = LOG_ERR if chunk.stream == "stderr" else LOG_INFO
        for line in chunk.data.decode(errors="backslashreplace").splitlines():
            self.flux.log(level, f'{entry.label}: rank={entry.request.rank}: "{line}"')

    def _time_out(self, task: Task) -> None:
        if not task.is_over:
            task.time_out()
            self._signal(task)

    def _signal(self, task: Task | None) -> None:
        if task is not None and task.pid:
            self.flux.notify("rexec.kill", {"pid": task.pid, "signum": int(signal.SIGTERM)}, task.rank)
