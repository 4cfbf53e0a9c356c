"""The kernel's own services: `broker`, `module`, `event` and `service`, written like any other module."""

from __future__ import annotations

import base64
import binascii
import errno
import os
from typing import Any, cast

import msgspec

from flux.errors import FluxError, ProtocolError
from flux.message import EVENT, FLAG_PRIVATE, ROLE_OWNER, Message
from flux.module import ALL, DEFERRED, USER, Module, request
from flux.module.trace import Trace, TraceRequest
from flux_kernel.loader import LoadedModule, Loader
from flux_kernel.switch import Switch

__all__ = ["KernelServices"]


class LoadRequest(msgspec.Struct):
    path: str
    args: list[str] = []
    name: str | None = None
    exec: bool = False
    command: list[str] = []
    loader: str = ""


class ReloadRequest(msgspec.Struct):
    name: str
    path: str | None = None
    args: list[str] | None = None
    exec: bool = False
    restart: bool = False


class RemoveRequest(msgspec.Struct):
    name: str
    cancel: bool = False


class StatusRequest(msgspec.Struct):
    status: int
    errnum: int = 0
    text: str = ""


class DebugRequest(msgspec.Struct):
    name: str
    defer: bool = False


class TopicRequest(msgspec.Struct):
    topic: str


class PublishRequest(msgspec.Struct):
    topic: str
    flags: int
    payload: str | None = None


class ServiceRequest(msgspec.Struct):
    service: str


class KernelServices(Module):
    """What the kernel itself answers (RFC 5 module management, event publication, service registration)."""

    name = "broker"
    further_services = ("module", "event", "service")
    stage = "boot"
    isolatable = False

    @property
    def switch(self) -> Switch:
        return cast("Switch", self.broker.switch)

    @property
    def loader(self) -> Loader:
        return cast("Loader", cast("Any", self.broker).loader)

    def start(self) -> None:
        self.tracing = Trace(self, self._watch_all)
        self.loader.on_link = self._watch
        self.loader.on_failure = lambda module, text: self._tell("failed", module, text=text, restart=module.restart)
        self.loader.on_restart = lambda module: self._tell("restarted", module)

    def _tell(self, what: str, module: LoadedModule, **more: Any) -> None:
        facts = {"name": module.name, "rank": self.rank, "status": module.status, "restarts": module.restarts}
        self.flux.event_send(f"module.{what}", {**facts, **more})

    def stats(self) -> dict[str, Any]:
        return {**self.switch.stats(), "tracers": len(self.tracing)}

    # -- module.*

    @request("load", service="module", payload=LoadRequest)
    async def load(self, _msg: Message, req: LoadRequest) -> None:
        command = req.command or [req.loader, req.path] * bool(req.loader)
        if command:
            name = req.name or os.path.splitext(os.path.basename(req.path))[0]
            await self.loader.load_command(command, name, req.args)
            return
        await self.loader.load_by_reference(req.path, req.name, req.args, req.exec)

    @request("reload", service="module", payload=ReloadRequest)
    async def reload(self, _msg: Message, req: ReloadRequest) -> None:
        self._check_removable(req.name)
        await self.loader.reload(req.name, req.path, req.args, req.exec, req.restart)

    @request("remove", service="module", payload=RemoveRequest)
    async def remove(self, _msg: Message, req: RemoveRequest) -> None:
        self._check_removable(req.name)
        await self.loader.remove(req.name, req.cancel)

    def _check_removable(self, name: str) -> None:
        if name == self.module_name:
            raise FluxError(errno.EPERM, "the broker's own services cannot be removed")

    @request("list", service="module", allow=USER)
    def list(self, _msg: Message) -> dict[str, Any]:
        return {"mods": self.loader.describe()}

    @request("status", service="module", payload=StatusRequest)
    def status(self, msg: Message, req: StatusRequest) -> None:
        self.loader.report(msg.sender, req.status, req.errnum, req.text)

    @request("trace", service="module", streaming=True, payload=TraceRequest)
    def trace(self, msg: Message, req: TraceRequest) -> Any:
        self.tracing.add(msg, req)
        return DEFERRED

    def _watch_all(self) -> None:
        for module in self.loader.modules.values():
            self._watch(module)

    def _watch(self, module: LoadedModule) -> None:
        wanted = self.tracing.follows(module.name)
        if wanted or module.gate is not None:
            module.gated(self.tracing.show).watch(wanted)

    @request("debug", service="module", payload=DebugRequest)
    def defer(self, _msg: Message, req: DebugRequest) -> None:
        self._check_removable(req.name)
        self.loader.find(req.name).gated(self.tracing.show).defer(req.defer)

    # -- event.*

    @request("publish", service="event", allow=USER, payload=PublishRequest)
    def publish(self, msg: Message, req: PublishRequest) -> dict[str, int]:
        if self.rank != 0:
            raise ProtocolError("this service is only available on rank 0")
        if req.flags & ~FLAG_PRIVATE:
            raise ProtocolError(f"unknown event flags {req.flags:#x}")
        payload = None if req.payload is None else _decode_base64(req.payload)
        event = Message(EVENT, req.topic, payload, flags=req.flags, userid=msg.userid, rolemask=msg.rolemask)
        return {"seq": self.switch.publish(event)}

    @request("subscribe", service="event", allow=USER, payload=TopicRequest)
    def subscribe(self, msg: Message, req: TopicRequest) -> None:
        self.switch.subscribe(req.topic, self._client(msg))

    @request("unsubscribe", service="event", allow=USER, payload=TopicRequest)
    def unsubscribe(self, msg: Message, req: TopicRequest) -> None:
        self.switch.unsubscribe(req.topic, self._client(msg))

    # -- service.*

    @request("add", service="service", allow=USER, payload=ServiceRequest)
    def add(self, msg: Message, req: ServiceRequest) -> None:
        if not msg.rolemask & ROLE_OWNER and not req.service.startswith(f"{msg.userid}-"):
            raise FluxError(errno.EPERM, f"guests may only register services named {msg.userid}-*")
        self.switch.add_service(req.service, self._client(msg))

    @request("remove", service="service", allow=USER, payload=ServiceRequest)
    def remove_service(self, msg: Message, req: ServiceRequest) -> None:
        self.switch.remove_service(req.service, self._client(msg))

    def _client(self, msg: Message) -> Any:
        """The link a request came in on: subscriptions and services belong to it."""
        assert msg.routes
        port = self.switch.ports.get(msg.routes[-1])
        if port is None or port.is_child or port is self.switch.parent:
            raise FluxError(errno.EINVAL, f"{msg.topic} is for clients of this broker only")
        return port.link

    @request("disconnect", service="module", allow=ALL)
    def disconnect(self, msg: Message) -> Any:
        self.runner.disconnect(msg.sender)
        return DEFERRED


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ProtocolError(f"event payload is not base64: {exc}") from None
