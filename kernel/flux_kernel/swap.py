"""Exchange a running module for another instance of it while requests go on (flux-module(1), reload).

What arrives meanwhile is held, and handed to whoever serves afterwards: the new one, or the old one if the new one
cannot be started. A module that gives something back in `stop` (a database, a checkpoint) has to stop before its
successor starts; any other one goes on until the new one runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

from flux.core.ledger import PendingLedger
from flux.message import ROLE_LOCAL, ROLE_OWNER, Message
from flux.module import Module

if TYPE_CHECKING:
    from flux_kernel.loader import LoadedModule, Loader
    from flux_kernel.switch import Switch

__all__ = ["swap"]


class Hold:
    """A link that stands in for a module, and keeps what it is sent (`flux.hooks.kernel.Link`)."""

    owner = True
    rolemask = ROLE_OWNER | ROLE_LOCAL

    def __init__(self, switch: Switch, module: LoadedModule) -> None:
        self.uuid = str(uuid4())
        self.userid = os.getuid()
        self._switch = switch
        self._held: list[Message] = []
        switch.attach(self)
        self._port = switch.ports[self.uuid]
        port = switch.ports[module.uuid]
        self._port.services, port.services = port.services, set()
        switch.services.update(dict.fromkeys(self._port.services, self._port))

    def send(self, msg: Message) -> None:
        self._held.append(msg)

    def promise(self, module: LoadedModule) -> None:
        """Let a module claim the services that are held."""
        self._port.heir = module.uuid

    def release(self, module: LoadedModule | None, services: set[str] | None = None) -> None:
        """Give the module what it claimed, or these services; what belongs to nobody any more is refused."""
        port = None if module is None else self._switch.ports.get(module.uuid)
        self._port.pending = PendingLedger()
        self._switch.detach(self)
        if port is not None:
            port.services |= services or set()
            self._switch.services.update(dict.fromkeys(port.services, port))
        for msg in self._held:
            self._switch.route_held(msg)

    @property
    def services(self) -> set[str]:
        return set(self._port.services)


async def swap(loader: Loader, old: LoadedModule, new: LoadedModule) -> None:
    """Put `new` in the place of `old`; when it cannot be started, the old one serves again and FluxError says why."""
    hold = Hold(loader.switch, old)
    if old.cls.stop is Module.stop and new.cls.stop is Module.stop:
        await _start_then_stop(loader, hold, old, new)
    else:
        await _stop_then_start(loader, hold, old, new)


async def _start_then_stop(loader: Loader, hold: Hold, old: LoadedModule, new: LoadedModule) -> None:
    hold.promise(new)
    try:
        await loader.bring_up(new)
    except BaseException:
        hold.release(old, hold.services)
        raise
    loader.modules[new.name] = new
    hold.release(new)
    await loader.retire(old, graceful=True)


async def _stop_then_start(loader: Loader, hold: Hold, old: LoadedModule, new: LoadedModule) -> None:
    loader.modules[new.name] = new
    served: LoadedModule | None = None
    try:
        await loader.retire(old, graceful=True)
        hold.promise(new)
        try:
            await loader.bring_up(new)
            served = new
        except BaseException:
            again = old.again()
            hold.promise(again)
            loader.modules[again.name] = again
            await loader.bring_up(again)
            served = again
            raise
    finally:
        hold.release(served)
