"""Whether the client of a request takes its answers."""

from __future__ import annotations

from flux.core.stream import SocketLink
from flux.message import Message
from flux.module.base import Module

__all__ = ["LINK_LIMIT", "congested_link"]

LINK_LIMIT = 1 << 20
"""Bytes queued on a client's connection above which a service that has much to tell it waits."""


def congested_link(module: Module, msg: Message) -> SocketLink | None:
    """The connection that a request came in by, when more than `LINK_LIMIT` bytes wait there for its client.

    Its `when_drained` tells when to go on. None when there is room, and where it cannot be told: the client is
    behind another broker, or the module is in a process of its own.
    """
    if not module.broker or not msg.routes:
        return None
    link = module.broker.switch.link_to(msg.routes[-1])
    return link if isinstance(link, SocketLink) and link.queued > LINK_LIMIT else None
