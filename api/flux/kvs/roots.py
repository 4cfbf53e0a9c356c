"""Roots of the KVS, present and on record (flux-dump(1), flux-fsck(1), flux-gc(1))."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

import msgspec

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.content import RawRPC
from flux.errors import FluxError
from flux.kvs.hdir import MAXDIRENT
from flux.kvs.requests import getroot_async, namespace_list_async

if TYPE_CHECKING:
    from flux.core.base import Handle
    from flux.core.handle import Flux

__all__ = ["Checkpoint", "checkpoints", "kvs_is_loaded", "live_roots", "maxdirent", "put_checkpoint"]


class Checkpoint(msgspec.Struct):
    """A root of the primary namespace on record; timestamp in seconds since the epoch."""

    rootref: str
    sequence: int = 0
    timestamp: float = 0.0


def checkpoints(handle: Handle) -> list[Checkpoint]:
    """All that are on record, newest first; none when there are none. FluxError ENOSYS without a backing store."""
    try:
        answer = handle.rpc("content.checkpoint-get", nodeid=0).get()
    except FluxError as exc:
        if exc.errno == errno.ENOENT:
            return []
        raise
    return msgspec.convert(answer["value"], list[Checkpoint])


def put_checkpoint(handle: Handle, rootref: str) -> None:
    """Put a root on record, once all content is in the backing store. For when the kvs module is not loaded.

    Its sequence number is above all on record: other ranks hold no root for newer. FluxError ENOSYS without a store.
    """
    sequence = 1 + max((checkpoint.sequence for checkpoint in checkpoints(handle)), default=-1)
    value = {"version": 1, "rootref": rootref, "sequence": sequence, "timestamp": time.time()}
    handle.rpc("content.checkpoint-put", {"value": value}, nodeid=0).get()


def kvs_is_loaded(handle: Handle) -> bool:
    """Whether rank 0 has a KVS."""
    try:
        getroot_async(handle, KVS_PRIMARY_NAMESPACE).get()
    except FluxError as exc:
        if exc.errno == errno.ENOSYS:
            return False
        raise
    return True


def maxdirent(handle: Flux) -> int:
    """Most entries of a directory that is stored whole; 0, no limit, also where large directories have no other form.

    That is stock Flux, which knows neither the attribute, which the kvs module sets, nor requests for many blobs.
    """
    try:
        return int(handle.attr_get("kvs.maxdirent"))
    except OSError as exc:
        if exc.errno != errno.ENOENT:
            raise
    try:
        RawRPC(handle, "content.store-many", b"", nodeid=0).get()
    except FluxError as exc:
        if exc.errno != errno.ENOSYS:
            raise
        return 0
    return MAXDIRENT


def live_roots(handle: Handle) -> dict[str, str]:
    """Root blobrefs of all namespaces by their names, as rank 0 has them; none when the kvs module is not loaded."""
    try:
        names = [namespace["namespace"] for namespace in namespace_list_async(handle).get()["namespaces"]]
    except FluxError as exc:
        if exc.errno == errno.ENOSYS:
            return {}
        raise
    roots: dict[str, str] = {}
    for name in names:
        try:
            answer: dict[str, Any] = handle.rpc("kvs.getroot", {"namespace": name, "flags": 0}, nodeid=0).get()
        except FluxError as exc:
            if exc.errno != errno.ENOTSUP:  # removed meanwhile
                raise
            continue
        roots[name] = answer["rootref"]
    return roots
