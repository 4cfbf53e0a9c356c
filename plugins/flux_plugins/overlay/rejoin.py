"""How a broker that has lost its parent comes under another one, without a restart.

It asks the ranks above the lost parent, the nearest first, and the lost parent itself last: what was lost may have
been the connection alone. While it asks, what goes upstream is held.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Iterable
from uuid import uuid4

from flux.errors import FluxError
from flux.hooks.kernel import Switchboard
from flux_plugins.overlay.topology import Topology
from flux_plugins.overlay.upstream import ParentLink

__all__ = ["Rejoin", "ancestors"]

_MIN_ATTEMPT = 0.5  # seconds
_MAY_PASS = (errno.ETIMEDOUT, errno.EHOSTUNREACH)

Connect = Callable[[int, ParentLink, float], Awaitable[None]]


def ancestors(tree: Topology, rank: int) -> list[int]:
    """The ranks above a rank, the nearest first."""
    found: list[int] = []
    parent = tree.parent(rank)
    while parent is not None:
        found.append(parent)
        parent = tree.parent(parent)
    return found


class Rejoin:
    """One search for another parent.

    Args:
        switch: gets the link that holds messages meanwhile.
        connect: joins the broker of a rank with that link within a number of seconds, or raises FluxError.
        report: called with texts for the log.
        timeout: seconds to search.
    """

    def __init__(self, switch: Switchboard, connect: Connect, report: Callable[[str], None], timeout: float) -> None:
        self._switch, self._connect, self._report = switch, connect, report
        self._timeout = timeout
        self._link = ParentLink(str(uuid4()))
        switch.attach_parent(self._link)

    async def run(self, candidates: Iterable[int]) -> int | None:
        """The rank that took us; None when none did, and what was held is answered then."""
        ranks = list(candidates)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        while (left := deadline - loop.time()) > 0:
            errors = []
            for rank in ranks:
                error = await self._try(rank, max(_MIN_ATTEMPT, left / (len(ranks) + 1)))
                if error is None:
                    return rank
                errors.append(error.errno)
            if not any(number in _MAY_PASS for number in errors):
                break
            # a connection that is closed at once again and again must not keep the loop busy
            await asyncio.sleep(_MIN_ATTEMPT / 5)
        self._switch.detach(self._link, errno.EHOSTUNREACH, "the parent broker is lost")
        return None

    async def _try(self, rank: int, limit: float) -> FluxError | None:
        try:
            async with asyncio.timeout(limit):
                await self._connect(rank, self._link, limit)
        except TimeoutError as exc:
            error = exc if isinstance(exc, FluxError) else FluxError(errno.ETIMEDOUT, f"no answer after {limit:g} s")
            self._report(f"rank {rank} does not take us: {error}")
            return error
        except FluxError as exc:
            self._report(f"rank {rank} does not take us: {exc}")
            return exc
        return None
