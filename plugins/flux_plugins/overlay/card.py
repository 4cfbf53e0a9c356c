"""Business cards: what brokers tell each other through the bootstrap method, before they can talk."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from flux.errors import FluxError
from flux.hostlist import Hostlist
from flux.taskmap import TaskMap

__all__ = ["Card", "gather_hosts", "read_card"]


class Card(msgspec.Struct):
    """One broker.

    Attributes:
        host: where it runs. pubkey: its CURVE public key, Z85. uri: endpoints for its children, none for a leaf.
    """

    host: str
    pubkey: str
    uri: list[str]


def read_card(lookup: Callable[[int], dict[str, Any]], rank: int) -> Card:
    """The card of a peer. FluxError says whose card is missing or wrong."""
    try:
        return msgspec.convert(lookup(rank), Card)
    except msgspec.MsgspecError as exc:
        raise FluxError(errno.EPROTO, f"business card of rank {rank}: {exc}") from None


def gather_hosts(size: int, mapping: TaskMap | None, host_of: Callable[[int], str]) -> str:
    """The hosts of all ranks as an RFC 29 hostlist; asks for one rank of each node when it is known who shares one."""
    if mapping is None:
        return Hostlist(_each(range(size), host_of)).encode()
    names: dict[int, str] = {}
    hosts = []
    for rank in range(size):
        node = mapping.nodeid(rank)
        if node not in names:
            names[node] = host_of(rank)
        hosts.append(names[node])
    return Hostlist(hosts).encode()


def _each(ranks: Iterable[int], host_of: Callable[[int], str]) -> list[str]:
    return [host_of(rank) for rank in ranks]
