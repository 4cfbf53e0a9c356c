"""Exchange a running module for another instance of it while requests go on (flux-module(1), reload).

Requests and events that arrive meanwhile are held, and handed to whoever serves afterwards: the new one, or the old
one if the new one cannot be started. A module that gives something back in `stop` (a database, a checkpoint) has to
stop before its successor starts; any other one goes on until the new one runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import uuid4

from flux.core.ledger import PendingLedger
from flux.hooks.kernel import Link
from flux.message import EVENT, RESPONSE, ROLE_LOCAL, ROLE_OWNER, Message
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
        self._newest = 0
        switch.attach(self)
        self._port = switch.ports[self.uuid]
        port = switch.ports[module.uuid]
        self._port.services, port.services = port.services, set()
        switch.services.update(dict.fromkeys(self._port.services, self._port))
        self._module: LoadedModule | None = module

    def take_events(self) -> None:
        """From now on the events are held too: the module answers nothing any more that might wait for one."""
        if self._module is not None:
            self._switch.listen_for(self._port, self._switch.ports[self._module.uuid])
            self._module = None

    def send(self, msg: Message) -> None:
        if msg.type != EVENT:
            self._held.append(msg)
        elif msg.aux > self._newest:  # else a subscription of the new one has brought it already
            self._newest = msg.aux
            self._held.append(msg)

    def promise(self, module: LoadedModule) -> None:
        """Let a module claim the services that are held, and keep the events that it subscribes to."""
        self._port.heir = module.uuid
        module.hold = self

    def cover(self, module: LoadedModule) -> None:
        """The module has its link: what comes there that is no answer is kept too."""
        self._switch.ports[module.uuid].link = Cover(self, module.link)

    def release(self, module: LoadedModule | None, services: set[str] | None = None) -> None:
        """Give the module what it claimed, or these services; what belongs to nobody any more is refused."""
        port = None if module is None else self._switch.ports.get(module.uuid)
        self._port.pending = PendingLedger()
        if port is not None and module is not None:
            port.link, module.hold = module.link, None
            port.services |= services or set()
            if services is not None:
                self._switch.listen_for(port, self._port)
        self._switch.detach(self)
        if port is not None:
            self._switch.services.update(dict.fromkeys(port.services, port))
        for msg in self._held:
            if msg.type != EVENT:
                self._switch.route_held(msg)
            elif port is not None and port.wants(msg.topic):
                port.link.send(msg)

    @property
    def services(self) -> set[str]:
        return set(self._port.services)


class Cover:
    """The link of a module that starts behind a hold: answers reach it, all else is held."""

    owner = True
    rolemask = ROLE_OWNER | ROLE_LOCAL

    def __init__(self, hold: Hold, link: Link) -> None:
        self.uuid, self.userid = link.uuid, link.userid
        self._hold, self._link = hold, link

    def send(self, msg: Message) -> None:
        (self._link if msg.type == RESPONSE else self._hold).send(msg)


async def swap(loader: Loader, old: LoadedModule, new: LoadedModule) -> None:
    """Put `new` in the place of `old`; when it cannot be started, the old one serves again and FluxError says why."""
    hold = Hold(loader.switch, old)
    if old.cls.stop is Module.stop and new.cls.stop is Module.stop:
        await _start_then_stop(loader, hold, old, new)
    else:
        await _stop_then_start(loader, hold, old, new)


async def _start_then_stop(loader: Loader, hold: Hold, old: LoadedModule, new: LoadedModule) -> None:
    hold.take_events()
    hold.promise(new)
    try:
        await loader.bring_up(new)
    except BaseException:
        hold.release(old, hold.services)
        raise
    loader.modules[new.name] = new
    hold.release(new)
    await loader.retire(old, hold=hold)


async def _stop_then_start(loader: Loader, hold: Hold, old: LoadedModule, new: LoadedModule) -> None:
    loader.modules[new.name] = new
    served: LoadedModule | None = None
    try:
        await loader.retire(old, hold=hold)
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
