"""Namespaces beside the primary one over an exchange of the module: left on record with the last checkpoint.

They are those of jobs that run, mostly. Only the next module under the same broker takes them up: an instance that
comes back begins without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux_plugins.kvs.namespaces import Namespace

if TYPE_CHECKING:
    from flux_plugins.kvs.requests import Checkpoint

__all__ = ["leave", "take_up"]


def leave(broker: str, namespaces: Iterable[Namespace]) -> dict[str, Any]:
    """What a checkpoint says of them beside the primary root. broker: its uuid."""
    kept = [
        {
            "name": namespace.name,
            "owner": namespace.owner,
            "rootref": namespace.rootref,
            "rootseq": namespace.rootseq,
            "flags": namespace.flags,
            "told": namespace.told,
        }
        for namespace in namespaces
        if namespace.name != KVS_PRIMARY_NAMESPACE
    ]
    return {"broker": broker, "namespaces": kept}


def take_up(broker: str, checkpoint: Checkpoint) -> Iterator[Namespace]:
    """Those that a module under this broker has left."""
    if checkpoint.broker == broker:
        yield from (Namespace(**kept) for kept in checkpoint.namespaces)
