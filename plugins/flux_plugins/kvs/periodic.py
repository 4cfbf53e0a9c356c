"""Checkpoints at intervals, as the configuration key `kvs.checkpoint-period` asks for them."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.errors import FluxError
from flux.util import parse_fsd

if TYPE_CHECKING:
    from flux_plugins.kvs.leader import Leader

__all__ = ["Periodic"]


class Periodic:
    """Puts the primary root on record each period, when it is another one than before.

    Args:
        leader: makes the checkpoints. The period is an FSD in its module's configuration; without it there are none.

    Raises:
        FluxError: EINVAL when the period is no duration above 0.
    """

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        self._timer: asyncio.TimerHandle | None = None
        self._rootseq = leader.namespaces[KVS_PRIMARY_NAMESPACE].rootseq
        self._period = _period(leader.kvs.conf.get("kvs", {}).get("checkpoint-period"))
        self._wait()

    def _wait(self) -> None:
        if self._period:
            self._timer = self.leader.kvs.flux.loop.call_later(self._period, self._expired)

    def _expired(self) -> None:
        rootseq = self.leader.namespaces[KVS_PRIMARY_NAMESPACE].rootseq
        if rootseq == self._rootseq:
            self._wait()
        else:
            self.leader.kvs.spawn(self._checkpoint(rootseq), "periodic checkpoint")

    async def _checkpoint(self, rootseq: int) -> None:
        try:
            await self.leader.checkpoint()
        except FluxError as exc:
            self.leader.kvs.log.error("the KVS root could not be put on record", error=str(exc))
        else:
            self._rootseq = rootseq
        self._wait()

    def stop(self) -> None:
        """Make no more."""
        self._period = 0.0
        if self._timer is not None:
            self._timer.cancel()


def _period(given: object) -> float:
    """Seconds; 0 when there are to be none."""
    if given is None:
        return 0.0
    try:
        period = parse_fsd(given) if isinstance(given, str) else 0.0
    except ValueError:
        period = 0.0
    if not 0 < period < float("inf"):
        raise FluxError(errno.EINVAL, f"kvs.checkpoint-period {given!r} is no duration such as '30m'")
    return period
