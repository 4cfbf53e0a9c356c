"""The module loader: load, remove, list, status (RFC 5)."""

from __future__ import annotations

import errno
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any
from uuid import uuid4

from flux.core.aio import AsyncFlux
from flux.discovery import Entry, load_entry, resolve
from flux.errors import FluxError, as_flux_error
from flux.message import Message
from flux.module import Module
from flux.module.foreign import Foreign
from flux.module.gate import Gate
from flux.module.options import encode_args, parse_args
from flux.module.runner import ModuleRunner, Welcome
from flux_kernel.attributes import Attributes
from flux_kernel.composition_plan import PlannedPlugin
from flux_kernel.isolate import IsolatedModule
from flux_kernel.link import ModuleLink
from flux_kernel.swap import Hold, swap
from flux_kernel.switch import Switch

__all__ = ["LoadedModule", "Loader", "Status"]


class Status(IntEnum):
    """Module states of RFC 5."""

    INIT = 0
    RUNNING = 1
    FINALIZING = 2
    EXITED = 3


class LoadedModule:
    """One module in the table, in process (runner) or isolated (process)."""

    def __init__(
        self,
        name: str,
        entry: Entry,
        cls: type[Module],
        options: Mapping[str, Any],
        isolated: bool = False,
        command: Sequence[str] = (),
        restart: Mapping[str, float] | None = None,
        restarts: int = 0,
    ) -> None:
        self.name = name
        self.entry = entry
        self.cls = cls
        self.options = options
        self.isolated = isolated or cls.run_by != Module.run_by
        self.command = command
        self.restart = restart or {}
        self.restarts = restarts
        self.uuid = str(uuid4())
        self.status = Status.INIT
        self.runner: ModuleRunner | None = None
        self.process: IsolatedModule | None = None
        self.link: Any = None
        self.gate: Gate | None = None
        self.hold: Hold | None = None
        self.note = ""
        self.started = time.monotonic()

    def again(self) -> LoadedModule:
        """A new one of the same, not started."""
        return self.changed(self.entry, self.cls, self.options, self.isolated)

    def changed(self, entry: Entry, cls: type[Module], options: Mapping[str, Any], isolated: bool) -> LoadedModule:
        """One that is to take its place, not started."""
        return LoadedModule(self.name, entry, cls, options, isolated, self.command, self.restart, self.restarts)

    def gated(self, show: Callable[[str, Message, int, str], None]) -> Gate:
        """The gate on its way to the switch."""
        if self.gate is None:
            if self.runner is not None:
                ends = (self.link, "receive"), (self.runner.flux.channel, "send")
            else:
                ends = (self.link.channel, "send"), (self.link.channel, "receive")
            self.gate = Gate(*ends, lambda prefix, msg: show(prefix, msg, -1, self.name))
        return self.gate

    def describe(self, services: list[str]) -> dict[str, Any]:
        """The module as `module.list` shows it (RFC 5), with what went wrong."""
        runner = self.runner
        info: dict[str, Any] = {
            "name": self.name,
            "path": self.entry.target,
            "idle": int(time.monotonic() - (runner.last_active if runner else self.started)),
            "status": int(self.status),
            "services": services,
            "sendqueue": 0,
            "recvqueue": self._queued(),
            "isolated": self.process is not None,
            "errors": runner.errors if runner else 0,
            "restarts": self.restarts,
            "note": self.note or (runner.last_error if runner else ""),
        }
        if self.process is not None:
            info["pid"] = self.process.process.pid
        return info

    def _queued(self) -> int:
        if isinstance(self.link, ModuleLink):
            return self.link.queued
        return 1 if self.link is not None and self.link.channel.queued else 0


class Loader:
    """The modules of one broker.

    Args:
        broker: passed to modules in this process as `self.broker`.
        log: called with (syslog level, text).

    Attributes:
        on_link: called with each module that has got its link, before it starts.
        on_failure: called with a module whose process has ended, or a task of which has failed, and a line on how.
        on_restart: called with a module that has taken the place of another, or of one that was removed before.
    """

    def __init__(
        self, switch: Switch, attrs: Attributes, conf: dict[str, Any], broker: Any, log: Callable[[int, str], None]
    ) -> None:
        self.switch = switch
        self.attrs = attrs
        self.conf = conf
        self.broker = broker
        self.log = log
        self.modules: dict[str, LoadedModule] = {}
        self._by_uuid: dict[str, LoadedModule] = {}
        self._removed: set[str] = set()
        self.on_link: Callable[[LoadedModule], None] = lambda _module: None
        self.on_failure: Callable[[LoadedModule, str], None] = lambda _module, _text: None
        self.on_restart: Callable[[LoadedModule], None] = lambda _module: None

    # -- load

    async def load_by_reference(self, path: str, name: str | None, args: list[str], isolated: bool) -> None:
        """Load what a user names: an entry point, a dotted path or a file (module.load)."""
        entry = resolve("modules", path)
        cls = load_entry(entry)[0]
        await self._load(LoadedModule(name or cls.name or entry.name, entry, cls, parse_args(args), isolated))

    async def load_command(self, command: Sequence[str], name: str, args: list[str]) -> None:
        """Load what a loader program of somebody else runs, such as a stock module (RFC 5)."""
        entry = Entry(name, "modules", shlex.join(command))
        await self._load(LoadedModule(name, entry, Foreign, parse_args(args), True, command))

    async def load_planned(self, plugin: PlannedPlugin, cls: type[Module]) -> None:
        """Load what a composition names."""
        isolated = plugin.isolated or bool(plugin.command)
        module = LoadedModule(plugin.name, plugin.entry, cls, plugin.options, isolated, plugin.command, plugin.restart)
        await self._load(module)

    async def _load(self, module: LoadedModule) -> None:
        """Take a module into the table and wait until it runs.

        FluxError EEXIST when the name is taken, EINVAL for bad arguments or an isolated module that cannot be, ENOENT
        when there is no such module, or what the module's start raised.
        """
        self._check_free(module.name)
        self.modules[module.name] = module
        await self.bring_up(module)
        if module.name in self._removed:
            self.on_restart(module)

    async def bring_up(self, module: LoadedModule) -> None:
        """Start a module; when that fails nothing is left of it. Raises as `_load` does."""
        name = module.name
        self._by_uuid[module.uuid] = module
        try:
            if module.isolated and not module.cls.isolatable:
                raise FluxError(errno.EINVAL, f"{name} needs the broker's own process and cannot be isolated")
            if module.isolated:
                await self._start_isolated(module)
            else:
                await self._start_here(module)
        except BaseException as exc:
            self._discard(module, f"{name} could not be started")
            if isinstance(exc, Exception):
                error = as_flux_error(exc)
                text = str(error) if str(error).startswith(name) else f"{name}: {error}"
                raise FluxError(error.errno, text) from exc
            raise
        module.status = Status.RUNNING

    async def load_kernel(self, cls: type[Module], services: Sequence[str]) -> None:
        """Load the kernel's own services, which all other modules are loaded with the help of."""
        module = self.modules[cls.name] = LoadedModule(cls.name, Entry(cls.name, "modules", "builtin"), cls, {})
        runner = self._make_runner(module)
        for service in services:
            self.switch.add_service(service, module.link)
        module.link.open()
        await runner.start()
        module.status = Status.RUNNING

    def _check_free(self, name: str) -> None:
        other = self.modules.get(name)
        if other is None:
            return
        if other.status != Status.EXITED:
            raise FluxError(errno.EEXIST, f"module {name} is loaded already")
        del self.modules[name]

    async def _start_here(self, module: LoadedModule) -> None:
        runner = self._make_runner(module)
        try:
            await runner.start()
        except Exception as exc:
            if not isinstance(exc, OSError):
                runner.log.exception(f"{module.name} failed to start", exc)
            await runner.tasks.cancel_all()
            raise
        module.link.open()

    def _attach(self, module: LoadedModule) -> None:
        self.switch.attach(module.link)
        if module.hold is not None:
            module.hold.cover(module)

    def _make_runner(self, module: LoadedModule) -> ModuleRunner:
        link = module.link = ModuleLink(module.uuid, os.getuid(), self.switch.receive)
        self._attach(module)
        flux = AsyncFlux(link.channel)
        welcome = Welcome(module.name, module.uuid, module.options, self.attrs.cacheable(), self.conf)
        runner = module.runner = ModuleRunner(module.cls, welcome, flux, self.broker)
        if module.restart:
            runner.on_task_failed = lambda text: self.on_failure(module, text)
        link.counters = runner.counters
        link.receive = flux.receive
        self.on_link(module)
        self.switch.add_service(module.name, link)
        return runner

    async def _start_isolated(self, module: LoadedModule) -> None:
        process = module.process = IsolatedModule(
            module.uuid,
            module.command or [sys.executable, "-P", "-m", module.cls.run_by, module.entry.target],
            {"FLUX_URI": self.attrs.get("local-uri") or ""},
            os.getuid(),
            self.switch.receive,
            lambda how: self._process_ended(module, how),
        )
        module.link = process.link
        self._attach(module)
        self.on_link(module)
        self.switch.add_service(module.name, process.link)
        process.welcome(
            {
                "name": module.name,
                "uuid": module.uuid,
                "args": encode_args(module.options),
                "attrs": self.attrs.cacheable(),
                "conf": self.conf,
            }
        )
        await process.started

    def _process_ended(self, module: LoadedModule, how: str) -> None:
        unexpected = module.status == Status.RUNNING
        module.status = Status.EXITED
        module.note = how
        text = f"module {module.name}: {how}"
        self.switch.detach(module.link, errno.EHOSTUNREACH if unexpected else errno.ENOSYS, text)
        if unexpected:
            self.log(3, text)
            self.on_failure(module, how)

    def report(self, sender: str, status: int, errnum: int, text: str) -> None:
        """Take the status of an isolated module, sent by itself (module.status)."""
        module = self._by_uuid.get(sender)
        if module is None or module.process is None:
            raise FluxError(errno.ENOENT, "this client is no module")
        module.process.report(status, errnum, text)
        if status == Status.FINALIZING:
            self.switch.withdraw(module.link)
            module.status = Status.FINALIZING

    # -- reload

    async def reload(
        self, name: str, path: str | None, args: list[str] | None, isolated: bool, restart: bool = False
    ) -> None:
        """Exchange a module for a new instance, of the file or name at path if there is one; see `swap`.

        One that has failed is started again. Without args (None) the new one gets those of the old one.
        restart: count it as one. FluxError EBUSY while it starts or stops, EPERM when the broker cannot do without.
        """
        old = self.find(name)
        if old.status not in (Status.RUNNING, Status.EXITED):
            raise FluxError(errno.EBUSY, f"module {old.name} is {old.status.name.lower()}")
        if not old.cls.reloadable:
            text = f"{old.name} cannot be exchanged while the broker runs: its state would be lost"
            raise FluxError(errno.EPERM, text)
        entry = resolve("modules", path) if path and not old.command else old.entry
        cls = old.cls if old.command else load_entry(entry)[0]
        new = old.changed(entry, cls, old.options if args is None else parse_args(args), isolated or old.isolated)
        new.restarts += restart
        if old.status == Status.EXITED:
            await self._revive(old, new)
        else:
            await self._exchange(old, new)
        self.on_restart(new)

    async def _exchange(self, old: LoadedModule, new: LoadedModule) -> None:
        old.status = Status.FINALIZING
        try:
            await swap(self, old, new)
        finally:
            if self.modules.get(old.name) is old and old.status == Status.FINALIZING:
                old.status = Status.RUNNING

    async def _revive(self, old: LoadedModule, new: LoadedModule) -> None:
        self.modules[new.name] = new
        try:
            await self.bring_up(new)
        except BaseException:
            self.modules[old.name] = old
            raise

    # -- remove

    async def remove(self, name: str, force: bool = False) -> None:
        """Unload a module and wait until it is gone. FluxError ENOENT when there is none of that name."""
        module = self.find(name)
        if module.status == Status.FINALIZING and not force:
            raise FluxError(errno.EBUSY, f"module {module.name} is being removed already")
        self._removed.add(module.name)
        if module.status == Status.EXITED:
            del self.modules[module.name]
        else:
            await self.retire(module, force)

    async def retire(self, module: LoadedModule, force: bool = False, hold: Hold | None = None) -> None:
        """End a module; when its place is held, first let it answer what it was asked, for a short time."""
        module.status = Status.FINALIZING
        try:
            if module.process is not None:
                if hold is not None:
                    hold.take_events()
                await module.process.end(module.name, force, graceful=hold is not None)
            elif module.runner is not None:
                self.switch.withdraw(module.link)
                if hold is not None:
                    module.link.drain()
                    await module.runner.finish()
                    hold.take_events()
                    module.link.drain()
                await module.runner.stop()
        except Exception as exc:
            self.log(3, f"module {module.name} failed while stopping: {type(exc).__name__}: {exc}")
        finally:
            self._discard(module, f"module {module.name} was unloaded")

    def find(self, name: str) -> LoadedModule:
        """The module of that name or path. FluxError ENOENT."""
        module = self.modules.get(name) or next((m for m in self.modules.values() if m.entry.target == name), None)
        if module is None:
            raise FluxError(errno.ENOENT, f"module {name} is not loaded")
        return module

    def _discard(self, module: LoadedModule, text: str) -> None:
        if module.link is not None:
            self.switch.detach(module.link, errno.ENOSYS, text)
            module.link.close()
        self._by_uuid.pop(module.uuid, None)
        if self.modules.get(module.name) is module:
            del self.modules[module.name]

    async def remove_all(self, names: list[str]) -> None:
        """Unload modules one after the other, last loaded first; one that somebody else is removing is left to that."""
        for name in reversed(names):
            if name in self.modules and self.modules[name].status != Status.FINALIZING:
                await self.remove(name)

    # -- list

    def describe(self) -> list[dict[str, Any]]:
        """The table for `module.list`."""
        return [module.describe(self._services_of(module)) for module in self.modules.values()]

    def _services_of(self, module: LoadedModule) -> list[str]:
        port = self.switch.ports.get(module.uuid)
        return [] if port is None else sorted(port.services - {module.name})
