"""The key-value store (manual page ``flux.kvs``, flux-kvs(1)).

The functions here take a blocking handle and give results; values are JSON. `put` and its like gather
operations in a transaction that belongs to the handle, which `commit` sends. The `*_async` forms return
futures and work under asyncio too. Keys are paths with "." between their parts.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from flux.constants import FLUX_KVS_READDIR
from flux.errors import FluxError
from flux.kvs.requests import (
    Lookup,
    commit_async,
    copy_async,
    default_namespace,
    fence_async,
    getroot_async,
    lookup_async,
    move_async,
    namespace_create_async,
    namespace_list_async,
    namespace_remove_async,
    wait_version_async,
    watch_async,
)
from flux.kvs.txn import KVSTxn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle
    from flux.kvs.directory import KVSDir as KVSDir

__all__ = [
    "KVSDir",
    "KVSTxn",
    "Lookup",
    "commit",
    "commit_async",
    "copy",
    "copy_async",
    "default_namespace",
    "dropcache",
    "exists",
    "fence",
    "fence_async",
    "get",
    "get_dir",
    "get_key_direct",
    "getroot",
    "getroot_async",
    "inner_walk",
    "isdir",
    "join",
    "lookup_async",
    "move",
    "move_async",
    "namespace_create",
    "namespace_create_async",
    "namespace_list",
    "namespace_list_async",
    "namespace_remove",
    "namespace_remove_async",
    "put",
    "put_mkdir",
    "put_symlink",
    "put_unlink",
    "wait_version",
    "wait_version_async",
    "walk",
    "watch",
    "watch_async",
]

_transactions: WeakKeyDictionary[Handle, KVSTxn] = WeakKeyDictionary()


def _txn_of(handle: Handle) -> KVSTxn:
    return _transactions.setdefault(handle, KVSTxn())


# -- reading


def get_key_direct(flux_handle: Handle, key: str, namespace: str | None = None) -> Any:
    """Value of a key, decoded from JSON; what is not JSON as a string, what is not text as bytes.

    Raises:
        FluxError: ENOENT when there is no such key, EISDIR when it is a directory.
    """
    return lookup_async(flux_handle, key, namespace=namespace).decoded()


def get(flux_handle: Handle, key: str, namespace: str | None = None) -> Any:
    """As `get_key_direct`; a `KVSDir` when the key is a directory."""
    try:
        return get_key_direct(flux_handle, key, namespace)
    except FluxError as exc:
        if exc.errno == errno.EISDIR:
            return get_dir(flux_handle, key, namespace)
        raise


def get_dir(flux_handle: Handle, key: str = ".", namespace: str | None = None) -> KVSDir:
    """A directory as a mapping. FluxError ENOENT, ENOTDIR when there is none of that name."""
    from flux.kvs.directory import KVSDir

    return KVSDir(flux_handle, key, namespace=namespace)


def exists(flux_handle: Handle, key: str, namespace: str | None = None) -> bool:
    """True when the key is a value or a directory, links followed."""
    try:
        lookup_async(flux_handle, key, namespace=namespace).get()
    except FluxError as exc:
        if exc.errno == errno.EISDIR:
            return True
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True


def isdir(flux_handle: Handle, key: str, namespace: str | None = None) -> bool:
    """True when the key is a directory, links followed."""
    try:
        lookup_async(flux_handle, key, FLUX_KVS_READDIR, namespace).get()
    except FluxError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    return True


def join(*args: str) -> str:
    """One key out of parts; empty parts and "." are dropped."""
    return ".".join(part.strip(".") for part in args if part.strip("."))


def walk(
    directory: KVSDir | str, topdown: bool = False, flux_handle: Handle | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a directory in the manner of os.walk: (path, names of directories, names of others)."""
    from flux.kvs.directory import walk as walk_directory

    return walk_directory(directory, topdown, flux_handle)


def inner_walk(kvsdir: KVSDir, curr_dir: str, topdown: bool = False) -> Iterator[tuple[str, list[str], list[str]]]:
    """`walk` of an open directory whose path is told as curr_dir."""
    from flux.kvs.directory import inner_walk as walk_directory

    return walk_directory(kvsdir, curr_dir, topdown)


def watch(flux_handle: Handle, key: str, flags: int = 0, namespace: str | None = None) -> Iterator[bytes]:
    """Values of a key as bytes, blocking: the present one, then one for each commit that names the key."""
    return watch_async(flux_handle, key, flags, namespace).values()


# -- writing


def put(flux_handle: Handle, key: str, value: Any, raw: bool = False) -> None:
    """Set key to a value that JSON can hold, in the handle's transaction.

    Args:
        raw: it is bytes or a string, to be stored as it is.
    """
    _txn_of(flux_handle).put(key, value, raw)


def put_mkdir(flux_handle: Handle, key: str) -> None:
    """Set key to an empty directory, in the handle's transaction."""
    _txn_of(flux_handle).mkdir(key)


def put_unlink(flux_handle: Handle, key: str) -> None:
    """Remove key, in the handle's transaction."""
    _txn_of(flux_handle).unlink(key)


def put_symlink(flux_handle: Handle, key: str, target: str) -> None:
    """Set key to a link to target, in the handle's transaction."""
    _txn_of(flux_handle).symlink(key, target)


def commit(flux_handle: Handle, flags: int = 0, namespace: str | None = None, txn: KVSTxn | None = None) -> int:
    """Commit a transaction, by default the handle's, and wait for it. Gives 0; errors: `commit_async`."""
    commit_async(flux_handle, _txn_of(flux_handle) if txn is None else txn, flags, namespace).get()
    return 0


def fence(
    flux_handle: Handle,
    name: str,
    nprocs: int,
    flags: int = 0,
    namespace: str | None = None,
    txn: KVSTxn | None = None,
) -> int:
    """Commit a transaction, by default the handle's, as one with those of others, and wait for it; see `fence_async`.

    Gives 0.
    """
    fence_async(flux_handle, name, nprocs, _txn_of(flux_handle) if txn is None else txn, flags, namespace).get()
    return 0


def copy(
    flux_handle: Handle,
    source: str,
    destination: str,
    source_namespace: str | None = None,
    namespace: str | None = None,
) -> None:
    """See `copy_async`."""
    copy_async(flux_handle, source, destination, source_namespace, namespace).get()


def move(
    flux_handle: Handle,
    source: str,
    destination: str,
    source_namespace: str | None = None,
    namespace: str | None = None,
) -> None:
    """See `move_async`."""
    move_async(flux_handle, source, destination, source_namespace, namespace).get()


def dropcache(flux_handle: Handle) -> None:
    """Drop what this rank's KVS and content caches can load again."""
    flux_handle.rpc("kvs.dropcache").get()
    flux_handle.rpc("content.dropcache").get()


# -- roots and namespaces


def getroot(flux_handle: Handle, namespace: str | None = None) -> dict[str, Any]:
    """See `getroot_async`."""
    answer: dict[str, Any] = getroot_async(flux_handle, namespace).get()
    return answer


def wait_version(flux_handle: Handle, rootseq: int, namespace: str | None = None) -> int:
    """Wait until a namespace has reached version rootseq; gives the version it has then."""
    return int(wait_version_async(flux_handle, rootseq, namespace).get()["rootseq"])


def namespace_create(flux_handle: Handle, name: str, owner: int = -1, rootref: str | None = None) -> None:
    """See `namespace_create_async`; the instance is asked for its hash function."""
    if "content.hash" not in flux_handle.attr_cache:
        answer = flux_handle.rpc("attr.get", {"name": "content.hash"}).get()
        flux_handle.attr_cache["content.hash"] = answer["value"]
    namespace_create_async(flux_handle, name, owner, rootref).get()


def namespace_remove(flux_handle: Handle, name: str) -> None:
    """See `namespace_remove_async`."""
    namespace_remove_async(flux_handle, name).get()


def namespace_list(flux_handle: Handle) -> list[dict[str, Any]]:
    """All namespaces: {"namespace", "owner", "flags"} each."""
    namespaces: list[dict[str, Any]] = namespace_list_async(flux_handle).get()["namespaces"]
    return namespaces


def __getattr__(name: str) -> Any:
    if name == "KVSDir":
        from flux.kvs.directory import KVSDir

        return KVSDir
    if name in ("KVSWatchFuture", "kvs_checkpoint_lookup", "kvs_watch_async"):
        from flux.kvs import watching

        return getattr(watching, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
