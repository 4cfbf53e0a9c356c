"""The one scheduler that holds the resources, and what it is told of them (RFC 28)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.idset import IDset
from flux.message import Message
from flux.module import Subscribers

if TYPE_CHECKING:
    from flux_plugins.resource.module import Resource

__all__ = ["Acquisition"]


class Acquisition:
    """The acquire request.

    Attributes:
        muted: no more updates are wanted: the instance is being taken down.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._holder = Subscribers(resource)
        self._told_up: IDset | None = None
        self.muted = False

    @property
    def taken(self) -> bool:
        """True while a scheduler holds the resources, or waits for them."""
        return bool(len(self._holder))

    def add(self, msg: Message) -> None:
        """A scheduler wants the resources. FluxError EBUSY when another one has them."""
        if self.taken:
            raise FluxError(errno.EBUSY, "the resources are held by another scheduler already")
        self._holder.add(msg)
        self._told_up = None
        self.muted = False
        self.offer()

    def offer(self) -> None:
        """Give the whole inventory to the scheduler that waits for it, once it is known."""
        if not self.taken or not self._resource.is_defined:
            return
        status = self._resource.status
        R = self._resource.R
        if status.excluded:
            kept = self._resource.inventory.copy()
            R = kept.remove_ranks(status.excluded).to_dict()
        self._told_up = status.up
        self._holder.publish({"resources": R, "up": str(self._told_up)})

    def update(self) -> None:
        """Tell the scheduler which ranks came up or went down since it last heard."""
        if self._told_up is None or self.muted:
            return
        up = self._resource.status.up
        changes = {"up": up - self._told_up, "down": self._told_up - up}
        payload = {name: str(ranks) for name, ranks in changes.items() if ranks}
        if payload:
            self._told_up = up
            self.publish(payload)

    def publish(self, payload: dict[str, Any]) -> None:
        """Send another update."""
        if self._told_up is not None:
            self._holder.publish(payload)

    def end(self, errnum: int) -> None:
        """End the stream with an error."""
        self._holder.end(errnum)
