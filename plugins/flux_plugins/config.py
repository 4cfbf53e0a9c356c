"""The instance's configuration object: config.get, config.load, config.reload; SIGHUP reloads it too.

Rank 0 reads it and asks every module on its rank; the other brokers follow their parent's streaming config.get.
"""

from __future__ import annotations

import errno
import signal
from typing import Any

from flux.configfile import read_config, unknown_tables
from flux.constants import FLUX_NODEID_UPSTREAM
from flux.errors import FluxError, ProtocolError
from flux.message import FLAG_STREAMING, Message
from flux.module import DEFERRED, USER, Module, Subscribers, request

__all__ = ["Config"]


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

    def start(self) -> None:
        self._current = dict(self.conf)
        if self.rank == 0:
            self._warn(self._current)
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
        path = self.broker.attrs.get("config.path")
        try:
            conf = read_config(path)
        except FluxError as exc:
            raise FluxError(exc.errno, f"Config file error: {exc}") from None
        await self._install(conf)
        self.log.info(f"configuration reloaded from {path or 'nowhere: it is empty'}")

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
        if conf != self._current:
            self.spawn(self._install_followed(conf), "install")

    async def _install_followed(self, conf: dict[str, Any]) -> None:
        try:
            await self._install(conf)
        except FluxError as exc:
            self.log.error(f"rank {self.rank} keeps its configuration: {exc}")

    # -- installation

    async def _install(self, conf: dict[str, Any]) -> None:
        """All or nothing: when a module refuses the new configuration, those before it get the old one back."""
        told: list[str] = []
        try:
            for module in self.broker.modules():
                if module["name"] != self.module_name:
                    await self._tell(module["name"], conf)
                    told.append(module["name"])
        except FluxError:
            for name in told:
                await self._give_back(name)
            raise
        self._take(conf)
        self._warn(conf)
        self._followers.publish(conf)

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
