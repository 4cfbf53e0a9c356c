"""Namespaces of jobs (RFC 16, guest namespace), each begun and ended with one request: every job needs both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.kvs import treeobj
from flux_plugins.kvs.keys import split_key
from flux_plugins.kvs.transaction import Edit, check_ops

if TYPE_CHECKING:
    from flux.kvs.treeobj import TreeObj
    from flux_plugins.kvs.leader import Leader
    from flux_plugins.kvs.requests import Guest

__all__ = ["begin_guest", "end_guest"]


async def begin_guest(leader: Leader, req: Guest) -> None:
    """Make the namespace unless it is there, commit the first ops in it, link it in the job's directory.

    FluxError ENOSPC, with nothing done, where there is no room; what `check_ops` raises.
    """
    leader.need_room()
    edits = check_ops(req.ops, guest=False)
    if req.namespace not in leader.namespaces:
        empty = treeobj.blobref(treeobj.EMPTY_DIR, leader.kvs.hash_name)
        leader.create(req.namespace, empty, req.owner, flags=0)
    first = leader.make(leader.open(req.namespace), edits)
    link = _put(leader, req.key, treeobj.symlink(".", req.namespace))
    for result in await asyncio.gather(first, link, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def end_guest(leader: Leader, req: Guest) -> None:
    """Commit the last ops, put a snapshot of the namespace in the link's place, remove the namespace.

    FluxError ENOTSUP without such a namespace; ENOSPC, with nothing done, where there is no room.
    """
    leader.need_room()
    root = await leader.make(leader.open(req.namespace), check_ops(req.ops, guest=False))
    await _put(leader, req.key, treeobj.dirref(root["rootref"]))
    leader.remove(req.namespace)


def _put(leader: Leader, key: str, entry: TreeObj) -> asyncio.Future[dict[str, object]]:
    return leader.make(leader.open(KVS_PRIMARY_NAMESPACE), [Edit(split_key(key), entry, append=False)])
