"""The instance's configuration object: config.get, config.load, config.reload; SIGHUP reloads it too.

Rank 0 reads it and asks every module on its rank; the other brokers follow their parent's streaming config.get. With
config.change-all rank 0 asks all brokers first (config.prepare), and takes back what was accepted (config.undo) when
one of them refuses.
"""

from __future__ import annotations

import asyncio
import errno
import signal
from typing import Any

import msgspec

from flux.configfile import read_config, unknown_tables
from flux.constants import FLUX_NODEID_UPSTREAM
from flux.errors import FluxError, ProtocolError
from flux.idset import IDset
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, USER, Module, Subscribers, request

__all__ = ["Config"]


class ChangeRequest(msgspec.Struct):
    """conf: the new configuration; None reads the files again."""

    conf: dict[str, Any] | None = None


class PrepareRequest(msgspec.Struct):
    conf: dict[str, Any]


class Config(Module):
    """Serves the configuration and tells every module when it changes."""

    name = "config"
    stage = "boot"
    isolatable = False
    reloadable = False

    def __init__(self) -> None:
        self._followers = Subscribers(self)
        self._upstream: Any = None
        self._current: dict[str, Any] = {}
        self._prepared: dict[str, Any] | None = None

    def start(self) -> None:
        self._current = dict(self.conf)
        if self.rank == 0:
            self._warn(self._current)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup: the initial program inherits it
            self.flux.loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def stop(self) -> None:
        self.flux.loop.remove_signal_handler(signal.SIGHUP)
        if self._upstream is not None:
            self._upstream.cancel("config.cancel")

    @request("get", allow=USER, streaming="optional")
    def get(self, msg: Message) -> Any:
        if not msg.is_streaming:
            return self._current
        self._followers.add(msg)
        self.respond(msg, self._current)
        return DEFERRED

    @request("load")
    async def load(self, msg: Message) -> None:
        self._check_leader()
        if not isinstance(msg.payload, dict):
            raise ProtocolError("config.load needs the configuration object")
        await self._install(msg.payload)

    @request("reload")
    async def reload(self, _msg: Message) -> None:
        self._check_leader()
        await self._reload()

    def _check_leader(self) -> None:
        if self.rank != 0:
            raise FluxError(errno.EINVAL, "configuration can only be changed on rank 0")

    async def _reload(self) -> None:
        await self._install(self._read())
        self.log.info(f"configuration reloaded from {self.broker.attrs.get('config.path') or 'nowhere: it is empty'}")

    def _read(self) -> dict[str, Any]:
        try:
            return read_config(self.broker.attrs.get("config.path"))
        except FluxError as exc:
            raise FluxError(exc.errno, f"Config file error: {exc}") from None

    def _hung_up(self) -> None:
        if self.rank == 0:
            self.spawn(self._reload_on_signal(), "reload")
        else:
            self.log.info("SIGHUP: configuration is reloaded on rank 0 only")

    async def _reload_on_signal(self) -> None:
        try:
            await self._reload()
        except FluxError as exc:
            self.log.error(f"SIGHUP: the configuration stays as it is: {exc}")

    # -- followers

    @request("follow")
    async def follow(self, _msg: Message) -> None:
        """Take the parent's configuration, and each that it has from now on."""
        if self.rank > 0 and self._upstream is None:
            self._take(await self.flux.rpc("config.get", nodeid=FLUX_NODEID_UPSTREAM))
            self._follow()

    def _follow(self) -> None:
        self._upstream = self.flux.rpc("config.get", None, FLUX_NODEID_UPSTREAM, FLAG_STREAMING)
        self._upstream.then(self._changed)

    def _changed(self, upstream: Any) -> None:
        try:
            conf = upstream.get()
        except OSError as exc:
            if exc.errno == errno.EHOSTUNREACH:
                self._follow()  # the overlay looks for another parent
            elif exc.errno != errno.ENODATA:
                self.log.error(f"no news of the configuration from the parent any more: {exc}")
            return
        upstream.reset()
        if conf == self._prepared:
            self._settle(conf)
        elif conf != self._current or self._prepared is not None:
            self.spawn(self._install_followed(conf), "install")

    async def _install_followed(self, conf: dict[str, Any]) -> None:
        try:
            await self._install(conf)
        except FluxError as exc:
            self.log.error(f"rank {self.rank} keeps its configuration: {exc}")

    # -- all ranks or none

    @request("change-all", payload=ChangeRequest)
    async def change_all(self, _msg: Message, req: ChangeRequest) -> None:
        """Change the configuration of all brokers that are online, or of none; the error names each that refuses."""
        self._check_leader()
        conf = self._read() if req.conf is None else req.conf
        online = (await self.flux.rpc("groups.get", {"name": "broker.online"}, self.rank))["members"]
        ranks = [*IDset(online)]
        refusals = await asyncio.gather(*(self._ask_rank(rank, conf) for rank in ranks))
        if any(refusals):
            accepted = [rank for rank, refusal in zip(ranks, refusals, strict=True) if not refusal]
            await asyncio.gather(*(self._take_back(rank) for rank in accepted))
            raise FluxError(errno.EINVAL, "; ".join(filter(None, refusals)))
        self._settle(conf)

    async def _ask_rank(self, rank: int, conf: dict[str, Any]) -> str:
        """Why a broker refuses, "" when it accepts. One that is lost meanwhile takes what it finds when it returns."""
        try:
            await self.flux.rpc("config.prepare", {"conf": conf}, rank)
        except FluxError as exc:
            return "" if exc.errno == errno.EHOSTUNREACH else f"rank {rank}: {exc}"
        return ""

    async def _take_back(self, rank: int) -> None:
        try:
            await self.flux.rpc("config.undo", nodeid=rank)
        except FluxError as exc:
            self.log.error(f"rank {rank} has not got the old configuration back: {exc}")

    @request("prepare", payload=PrepareRequest)
    async def prepare(self, _msg: Message, req: PrepareRequest) -> None:
        """Let every module of this rank accept a configuration that is taken, or undone, later."""
        if self._prepared is not None:
            raise FluxError(errno.EBUSY, "another change of the configuration is under way")
        self._prepared = req.conf
        try:
            await self._ask_modules(req.conf)
        except FluxError:
            self._prepared = None
            raise

    @request("undo")
    async def undo(self, _msg: Message) -> None:
        """Forget what was prepared."""
        if self._prepared is not None:
            self._prepared = None
            for name in self._others():
                await self._give_back(name)

    # -- installation

    async def _install(self, conf: dict[str, Any]) -> None:
        await self._ask_modules(conf)
        self._settle(conf)

    def _settle(self, conf: dict[str, Any]) -> None:
        self._prepared = None
        self._take(conf)
        self._warn(conf)
        self._followers.publish(conf)

    def _others(self) -> list[str]:
        return [module["name"] for module in self.broker.modules() if module["name"] != self.module_name]

    async def _ask_modules(self, conf: dict[str, Any]) -> None:
        """All or nothing: when a module refuses the new configuration, those before it get the old one back."""
        told: list[str] = []
        try:
            for name in self._others():
                await self._tell(name, conf)
                told.append(name)
        except FluxError:
            for name in told:
                await self._give_back(name)
            raise

    async def _give_back(self, module: str) -> None:
        """The module has accepted what another one refuses; what it thinks of the old one must not stop the others."""
        try:
            await self._tell(module, self._current)
        except FluxError as exc:
            self.log.error(f"the old configuration is not taken back: {exc}")

    def _take(self, conf: dict[str, Any]) -> None:
        self.conf = self._current = conf
        # the kernel hands this very object to modules that are loaded later
        shared = self.broker.conf
        shared.clear()
        shared.update(conf)

    def _warn(self, conf: dict[str, Any]) -> None:
        for line in unknown_tables(conf):
            self.log.warning(f"configuration: {line}")

    async def _tell(self, module: str, conf: dict[str, Any]) -> None:
        try:
            await self.flux.rpc(f"{module}.config-reload", conf, nodeid=self.rank)
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise FluxError(exc.errno, f"{module} refuses the configuration: {exc}") from None
