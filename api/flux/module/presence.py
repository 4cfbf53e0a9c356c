"""Which ranks are part of the instance, by the group broker.online."""

from __future__ import annotations

import errno
from collections.abc import Callable

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.idset import IDset
from flux.message import FLAG_STREAMING
from flux.rpc import RPC

__all__ = ["Presence"]


class Presence:
    """Follows the group on rank 0.

    Args:
        on_gone: called with the ranks that have left.
        on_error: called with what ends it. Without the service no rank is known to be present.
        on_come: called with the ranks that have joined, at first with those that are there.
    """

    def __init__(
        self,
        flux: AsyncFlux,
        on_gone: Callable[[IDset], None],
        on_error: Callable[[str], None],
        on_come: Callable[[IDset], None] | None = None,
    ) -> None:
        self._members = IDset()
        self._on_gone, self._on_error, self._on_come = on_gone, on_error, on_come
        flux.rpc("groups.get", {"name": "broker.online"}, 0, FLAG_STREAMING).then(self._changed)

    def __contains__(self, rank: object) -> bool:
        return rank in self._members

    def _changed(self, rpc: RPC) -> None:
        try:
            members = IDset(rpc.get()["members"])
        except FluxError as exc:
            if exc.errno not in (errno.ENOSYS, errno.ENODATA):
                self._on_error(f"the group of brokers online cannot be followed: {exc}")
            self._members = IDset()
            return
        rpc.reset()
        gone, come, self._members = self._members - members, members - self._members, members
        if gone:
            self._on_gone(gone)
        if come and self._on_come is not None:
            self._on_come(come)
