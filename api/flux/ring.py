"""Requests round the ring of brokers, for when the tree is broken (the module `ring`, flux-ping(1) `--ring`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux.frames import encode_frame
from flux.message import FLAG_NORESPONSE, NODEID_ANY, REQUEST, Message
from flux.rpc import RPC

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["RingRoute"]


class RingRoute:
    """Sends requests to a rank by the ring; answers come to the handle, whose reactor runs as ever.

    Stands in for a handle where only `rpc` and `notify` are called.

    Args:
        flux_handle: connected to a broker that is in the ring. Owner only.
    """

    def __init__(self, flux_handle: Handle) -> None:
        self._handle = flux_handle
        self._rank = flux_handle.own_rank()

    def rpc(self, topic: str, payload: Any = None, nodeid: int = NODEID_ANY, flags: int = 0) -> RPC:
        """As `Handle.rpc`. NODEID_ANY is the broker of the handle, after once round the whole ring.

        The future fails with EHOSTUNREACH when the rank cannot be reached, with ENOSYS when there is no ring.
        """
        target = self._rank if nodeid == NODEID_ANY else nodeid
        request = encode_frame(Message(REQUEST, topic, payload, aux=target, routes=[]))
        return RPC(self._handle, "ring.forward", request, self._rank, flags)

    def notify(self, topic: str, payload: Any = None, nodeid: int = NODEID_ANY) -> None:
        """Send a request that gets no response."""
        self.rpc(topic, payload, nodeid, FLAG_NORESPONSE)
