"""Namespaces of jobs (RFC 16, guest namespace), each begun and ended with one request: every job needs both.

What is put in the job's directory is patient: a busy instance commits there all the time, so that it costs no commit
of its own. Whatever is committed later, such as the event that tells of the job's start, is not seen before it. So are
the first events of the namespace, which go with what the shell writes, or are committed when somebody looks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flux.constants import KVS_PRIMARY_NAMESPACE
from flux.kvs import treeobj
from flux_plugins.kvs.keys import split_key
from flux_plugins.kvs.transaction import Edit, check_ops

if TYPE_CHECKING:
    import asyncio

    from flux.kvs.treeobj import TreeObj
    from flux_plugins.kvs.leader import Leader
    from flux_plugins.kvs.requests import Guest

__all__ = ["begin_guest", "end_guest"]

_PATIENCE, _UNSEEN_PATIENCE = 0.02, 1.0
"""Seconds that what is put in the job's directory, and in a namespace that nobody looks at, waits for other commits."""


def begin_guest(leader: Leader, req: Guest) -> None:
    """Make the namespace unless it is there, have the first ops committed in it, and it linked in the job's directory.

    FluxError ENOSPC, with nothing done, where there is no room; what `check_ops` raises.
    """
    leader.need_room()
    edits = check_ops(req.ops, guest=False)
    if req.namespace not in leader.namespaces:
        empty = treeobj.blobref(treeobj.EMPTY_DIR, leader.kvs.hash_name)
        leader.add(req.namespace, empty, req.owner, flags=0, told=False)
        leader.kvs.cache.put_dir(empty, treeobj.EMPTY_DIR)  # the last job's commit has taken it
    link = _put(leader, req.key, treeobj.symlink(".", req.namespace))
    namespace = leader.open(req.namespace)
    first = leader.make(namespace, edits, patience=0 if namespace.told else _UNSEEN_PATIENCE)
    for made, what in ((link, "link"), (first, "first events")):
        made.add_done_callback(partial(_check, leader, f"{what} of the namespace of a job", req.key))


async def end_guest(leader: Leader, req: Guest) -> None:
    """Commit the last ops, put a snapshot of the namespace in the link's place, remove the namespace.

    FluxError ENOTSUP without such a namespace; ENOSPC, with nothing done, where there is no room.
    """
    leader.need_room()
    root = await leader.make(leader.open(req.namespace), check_ops(req.ops, guest=False))
    await _put(leader, req.key, treeobj.dirref(root["rootref"]))
    leader.remove(req.namespace)


def _put(leader: Leader, key: str, entry: TreeObj) -> asyncio.Future[dict[str, Any]]:
    edits = [Edit(split_key(key), entry, append=False)]
    return leader.make(leader.open(KVS_PRIMARY_NAMESPACE), edits, patience=_PATIENCE)


def _check(leader: Leader, what: str, key: str, made: asyncio.Future[dict[str, Any]]) -> None:
    error = made.exception()
    if error is not None:
        leader.kvs.log.error("not committed", what=what, key=key, error=str(error))
