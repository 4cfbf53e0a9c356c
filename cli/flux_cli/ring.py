"""Commands that can go by the ring of brokers instead of the tree (`--ring`)."""

from __future__ import annotations

import errno

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.ring import RingRoute

__all__ = ["open_ring"]


def open_ring(handle: Flux) -> RingRoute:
    """The way by the ring. CommandError when the broker of the handle is not in one."""
    from flux.errors import FluxError
    from flux.ring import RingRoute

    try:
        handle.rpc("ring.stats-get", nodeid=handle.own_rank()).get()
    except FluxError as exc:
        if exc.errno != errno.ENOSYS:
            raise
        die("--ring: the ring is not on: `flux module load -r all ring`, or [modules.ring] in plugins.toml(5)")
    return RingRoute(handle)
