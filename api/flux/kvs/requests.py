"""KVS requests as futures: lookup, watch, commit, namespaces (flux_kvs_lookup(3), flux_kvs_commit(3)).

They work over both handles: `get()` under a blocking one, `await` and `async for` under asyncio.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from flux import jsontext
from flux.constants import (
    FLUX_KVS_STREAM,
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH,
    KVS_PRIMARY_NAMESPACE,
)
from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj
from flux.kvs.txn import KVSTxn
from flux.message import FLAG_STREAMING
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle
    from flux.future import Future

__all__ = [
    "Lookup",
    "commit_async",
    "copy_async",
    "default_namespace",
    "fence_async",
    "getroot_async",
    "lookup_async",
    "move_async",
    "namespace_create_async",
    "namespace_list_async",
    "namespace_remove_async",
    "wait_version_async",
    "watch_async",
]

_WATCH_SERVICE = FLUX_KVS_WATCH | FLUX_KVS_WAITCREATE | FLUX_KVS_STREAM
_OWNER_IS_CALLER = -1


def default_namespace() -> str:
    """$FLUX_KVS_NAMESPACE, else "primary"."""
    return os.environ.get("FLUX_KVS_NAMESPACE") or KVS_PRIMARY_NAMESPACE


class Lookup(RPC):
    """A lookup, or a stream of them when watching. Its results are RFC 11 objects.

    `value`, `json` and `entries` interpret the current one; a watch goes on to the next with `reset`, or is
    iterated. The result is None where FLUX_KVS_WATCH_INITIAL_SENTINEL asks for a mark.
    """

    def _convert(self, result: Any) -> TreeObj | None:
        payload = result.payload
        return None if payload is None else payload["val"]

    def value(self) -> bytes:
        """The value as bytes. FluxError EISDIR, EINVAL when it is none; ENOENT when the key is missing."""
        return treeobj.decode_val(self.get())

    def json(self) -> Any:
        """The value decoded as JSON. ValueError when it is not JSON."""
        return jsontext.decode(self.value())

    def decoded(self) -> Any:
        """The value decoded as JSON; what is not JSON as a string, what is not text as bytes."""
        data = self.value()
        try:
            return jsontext.decode(data)
        except jsontext.errors():
            pass  # it need not be
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data

    def entries(self) -> dict[str, TreeObj]:
        """The entries of a directory, after FLUX_KVS_READDIR."""
        entries: dict[str, TreeObj] = self.get()["data"]
        return entries

    def take(self, count: int) -> None:
        """Let the sender of a stream with a window go on: count bytes of it are done with."""
        assert self._handle is not None
        self._handle.notify("kvs-watch.taken", {"matchtag": self.matchtag, "count": count})

    def values(self) -> Iterator[bytes]:
        """Values of a watch, as bytes, blocking, until its end."""
        for obj in self:
            if obj is not None:
                yield treeobj.decode_val(obj)


def lookup_async(
    handle: Handle,
    key: str,
    flags: int = 0,
    namespace: str | None = None,
    rootdir: TreeObj | None = None,
    window: int = 0,
) -> Lookup:
    """Look a key up.

    Args:
        flags: FLUX_KVS_READDIR, READLINK, TREEOBJ; WATCH, WAITCREATE, STREAM and what goes with them.
        namespace: default $FLUX_KVS_NAMESPACE, else "primary".
        rootdir: a dirref: look the key up in that snapshot instead of a namespace.
        window: bytes of a stream, or of watched appends, that may be under way before `Lookup.take`; 0 any number.

    Errors, when the result is got: ENOENT no such key; ENOTSUP no such namespace; EPERM not the caller's;
    EISDIR, ENOTDIR, EINVAL the key is something else than the flags ask for.
    """
    request: dict[str, Any] = {"key": key, "flags": flags}
    if rootdir is None:
        request["namespace"] = namespace or default_namespace()
    else:
        request["rootdir"] = rootdir
    if window:
        request["window"] = window
    topic = "kvs-watch.lookup" if flags & _WATCH_SERVICE else "kvs.lookup"
    streaming = flags & (FLUX_KVS_WATCH | FLUX_KVS_STREAM)
    return Lookup(handle, topic, request, flags=FLAG_STREAMING if streaming else 0)


def watch_async(handle: Handle, key: str, flags: int = 0, namespace: str | None = None) -> Lookup:
    """Look a key up, and again each time a commit names it; ended by `cancel()`, with ENODATA.

    Args:
        flags: FLUX_KVS_WAITCREATE, WATCH_FULL, WATCH_UNIQ, WATCH_APPEND, WATCH_INITIAL_SENTINEL.
    """
    return lookup_async(handle, key, flags | FLUX_KVS_WATCH, namespace)


def commit_async(handle: Handle, txn: KVSTxn, flags: int = 0, namespace: str | None = None) -> RPC:
    """Commit a transaction. The result is {"rootref", "rootseq"} of the root that contains it.

    Args:
        flags: FLUX_KVS_NO_MERGE, FLUX_KVS_SYNC.

    Errors: ENOTSUP no such namespace; EPERM not the caller's; EISDIR, ENOTSUP append to a directory or link.
    """
    ops, txn.ops = txn.ops, []
    return handle.rpc("kvs.commit", {"namespace": namespace or default_namespace(), "flags": flags, "ops": ops})


def fence_async(
    handle: Handle, name: str, nprocs: int, txn: KVSTxn, flags: int = 0, namespace: str | None = None
) -> RPC:
    """Commit the transactions of nprocs callers, on any ranks, as one (flux_kvs_fence(3)). Result: see `commit_async`.

    Args:
        name: of the fence, once and for all in an instance. nprocs, flags, namespace: as all the others have them.

    Errors: those of `commit_async`, for all of them; EINVAL what differs from the others; EOVERFLOW they were complete.
    """
    ops, txn.ops = txn.ops, []
    request = {
        "name": name,
        "nprocs": nprocs,
        "namespace": namespace or default_namespace(),
        "flags": flags,
        "ops": ops,
    }
    return handle.rpc("kvs.fence", request)


def copy_async(
    handle: Handle,
    source: str,
    destination: str,
    source_namespace: str | None = None,
    namespace: str | None = None,
) -> Future:
    """Copy a key, by reference, however much is below it. The result is that of `commit_async`, and so are errors.

    Args:
        source_namespace, namespace: of source and destination; default $FLUX_KVS_NAMESPACE, else "primary".

    Errors: ENOENT there is no such source.
    """
    return _Entry(handle, source, source_namespace).and_then(
        lambda entry: commit_async(handle, KVSTxn().put_treeobj(destination, entry.get()), namespace=namespace)
    )


def move_async(
    handle: Handle,
    source: str,
    destination: str,
    source_namespace: str | None = None,
    namespace: str | None = None,
) -> Future:
    """Move a key, as `copy_async` copies it: within a namespace in one commit, else the source goes in a second one."""
    if source_namespace != namespace:
        copied = copy_async(handle, source, destination, source_namespace, namespace)
        return copied.and_then(lambda _: commit_async(handle, KVSTxn().unlink(source), namespace=source_namespace))

    def commit(entry: Future) -> Future:
        txn = KVSTxn().unlink(source).put_treeobj(destination, entry.get())
        return commit_async(handle, txn, namespace=namespace)

    return _Entry(handle, source, namespace).and_then(commit)


class _Entry(Lookup):
    """A directory entry as it is stored; errors name the key."""

    def __init__(self, handle: Handle, key: str, namespace: str | None) -> None:
        request = {"key": key, "flags": FLUX_KVS_TREEOBJ, "namespace": namespace or default_namespace()}
        super().__init__(handle, "kvs.lookup", request)
        self._key = key

    def get(self) -> Any:
        try:
            return super().get()
        except FluxError as exc:
            raise FluxError(exc.errno, f"{self._key}: {exc.strerror}") from None


def getroot_async(handle: Handle, namespace: str | None = None) -> RPC:
    """The root of a namespace: {"owner", "rootseq", "rootref", "flags", "namespace"}."""
    return handle.rpc("kvs.getroot", {"namespace": namespace or default_namespace(), "flags": 0})


def wait_version_async(handle: Handle, rootseq: int, namespace: str | None = None) -> RPC:
    """Answered with {"rootseq", "rootref"} once the namespace has reached a version."""
    return handle.rpc("kvs.wait-version", {"rootseq": rootseq, "namespace": namespace or default_namespace()})


def namespace_create_async(handle: Handle, name: str, owner: int = _OWNER_IS_CALLER, rootref: str | None = None) -> RPC:
    """Create a namespace. FluxError EEXIST when there is one of that name.

    Args:
        owner: userid that may use it beside the instance owner; -1 for the caller.
        rootref: blobref of the directory it begins with; default an empty one, by the
            hash function in the handle's attribute cache (`content.hash`), else sha1.
    """
    request = {
        "namespace": name,
        "rootref": rootref or treeobj.blobref(treeobj.EMPTY_DIR, handle.attr_cache.get("content.hash", "sha1")),
        "owner": owner,
        "flags": 0,
    }
    return handle.rpc("kvs.namespace-create", request, nodeid=0)


def namespace_remove_async(handle: Handle, name: str) -> RPC:
    """Remove a namespace; one that is unknown is no error. FluxError ENOTSUP for "primary"."""
    return handle.rpc("kvs.namespace-remove", {"namespace": name}, nodeid=0)


def namespace_list_async(handle: Handle) -> RPC:
    """All namespaces: {"namespaces": [{"namespace", "owner", "flags"}]}."""
    return handle.rpc("kvs.namespace-list")
