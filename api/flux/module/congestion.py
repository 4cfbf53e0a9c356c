"""Whether the client of a request takes its answers."""

from __future__ import annotations

from flux.core.stream import Behind, SocketLink
from flux.message import Message
from flux.module.base import Module

__all__ = ["LINK_LIMIT", "congested_link"]

LINK_LIMIT = 1 << 20
"""Bytes queued on a client's connection above which a service that has much to tell it waits."""


def congested_link(module: Module, msg: Message) -> SocketLink | Behind | None:
    """The connection that a request came in by, when more than `LINK_LIMIT` bytes wait there for its client.

    Or the client's connection to another client, such as flux proxy, that has said so of it (`local.hold`). Its
    `when_drained` tells when to go on. None when there is room, and where it cannot be told: the client is behind
    another broker, or the module is in a process of its own.
    """
    if not module.broker or not msg.routes:
        return None
    link = module.broker.switch.link_to(msg.routes[-1])
    if not isinstance(link, SocketLink):
        return None
    return link if link.queued > LINK_LIMIT else _held(link, msg.routes) if link.behind else None


def _held(link: SocketLink, routes: list[str]) -> Behind | None:
    """The one that is held of those that a request came by on its way to a link."""
    ways = (tuple(routes[start:-1]) for start in range(len(routes) - 1))
    return next((link.behind[way] for way in ways if way in link.behind), None)
