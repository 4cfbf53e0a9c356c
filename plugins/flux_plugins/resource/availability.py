"""Which ranks the groups broker.online and broker.torpid have, and who waits for more of them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.idset import IDset
from flux.message import FLAG_STREAMING, Message

if TYPE_CHECKING:
    from flux_plugins.resource.module import Resource

__all__ = ["Availability"]


class Availability:
    """Keeps the status of ranks true to the groups, and posts what changes."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._online = IDset()
        self._torpid = IDset()
        self._waiting: list[tuple[int, Message]] = []

    def follow(self) -> None:
        """Begin to follow the groups."""
        self._follow("broker.online", self._online_changed)
        self._follow("broker.torpid", self._torpid_changed)

    def _follow(self, group: str, changed: Callable[[IDset], None]) -> None:
        def update(rpc: Any) -> None:
            try:
                members = IDset(rpc.get()["members"])
            except FluxError as exc:
                if exc.errno != errno.ENODATA:
                    self._resource.log.error(f"cannot follow the group {group}: {exc}")
                return
            rpc.reset()
            changed(members)

        self._resource.flux.rpc("groups.get", {"name": group}, 0, FLAG_STREAMING).then(update)

    def _online_changed(self, members: IDset) -> None:
        self._online = members
        self.apply()

    def _torpid_changed(self, members: IDset) -> None:
        self._torpid = members
        self.apply()

    def apply(self) -> None:
        """Bring the status up to date; of ranks of an inventory that is not known yet nothing is said."""
        resource = self._resource
        if not resource.is_defined:
            return
        online = resource.inventory.ranks if resource.force_up else self._online
        changes = resource.status.on_online(online) + resource.status.on_torpid(self._torpid)
        for name, ranks in changes:
            resource.journal.post(name, {"idset": str(ranks)})
        resource.acquisition.update()
        self._answer()

    def wait_up(self, count: int, msg: Message) -> None:
        """Answer a request when so many ranks are online."""
        self._waiting.append((count, msg))
        self._answer()

    def _answer(self) -> None:
        online = self._resource.status.online.count()
        ready = [msg for count, msg in self._waiting if count <= online]
        self._waiting = [(count, msg) for count, msg in self._waiting if count > online]
        for msg in ready:
            self._resource.respond(msg)

    def disconnected(self, sender: str) -> None:
        """A client went away, and waits no more."""
        self._waiting = [(count, msg) for count, msg in self._waiting if msg.sender != sender]
