"""KVS transactions: operations that are applied together, in order (flux_kvs_txn_create(3))."""

from __future__ import annotations

import errno

from flux import jsontext
from flux.constants import FLUX_KVS_APPEND
from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.base import Handle
    from flux.rpc import RPC

__all__ = ["KVSTxn"]


class KVSTxn:
    """A list of operations for `flux.kvs.commit` or `commit_async`; each method adds one.

    Attributes:
        ops: the operations as they go on the wire: {"key", "flags", "dirent"}.

    A key is a path with "." between its parts. What stands in the way of an operation is overwritten.

    Args:
        flux_handle: for the methods `commit` and `commit_async`.
        path: that keys are below. namespace: to commit to, by default that of the process.
    """

    __slots__ = ("_handle", "_namespace", "_prefix", "ops")

    def __init__(self, flux_handle: Handle | None = None, path: str = ".", namespace: str | None = None) -> None:
        self.ops: list[dict[str, Any]] = []
        self._handle = flux_handle
        self._prefix = "" if path == "." else f"{path}."
        self._namespace = namespace

    def _add(self, key: str, dirent: TreeObj | None, flags: int = 0) -> KVSTxn:
        if not key:
            raise FluxError(errno.EINVAL, "a key cannot be empty")
        self.ops.append({"key": self._prefix + key, "flags": flags, "dirent": dirent})
        return self

    def commit_async(self, flags: int = 0) -> RPC:
        """Commit what is gathered; see `flux.kvs.commit_async`. FluxError EINVAL without a handle."""
        if self._handle is None:
            raise FluxError(errno.EINVAL, "this transaction has no handle: give it one, or use flux.kvs.commit")
        from flux.kvs.requests import commit_async

        return commit_async(self._handle, self, flags, self._namespace)

    def commit(self, flags: int = 0) -> None:
        """The same, blocking."""
        self.commit_async(flags).get()

    def put(self, key: str, obj: Any, raw: bool = False) -> KVSTxn:
        """Set key to the JSON text of a Python object; TypeError when JSON cannot hold it.

        Args:
            raw: it is bytes or a string, to be stored as it is.
        """
        return self._add(key, treeobj.val(obj if raw else jsontext.encode(obj)))

    def put_raw(self, key: str, data: bytes | str) -> KVSTxn:
        """Set key to bytes, or to the UTF-8 of a string."""
        return self._add(key, treeobj.val(data))

    def append(self, key: str, data: bytes | str) -> KVSTxn:
        """Add bytes to the end of key's value; creates it when it is missing."""
        return self._add(key, treeobj.val(data), FLUX_KVS_APPEND)

    def mkdir(self, key: str) -> KVSTxn:
        """Set key to an empty directory."""
        return self._add(key, treeobj.directory())

    def unlink(self, key: str) -> KVSTxn:
        """Remove key, with all below it when it is a directory. A missing key is no error."""
        return self._add(key, None)

    def symlink(self, key: str, target: str, namespace: str | None = None) -> KVSTxn:
        """Set key to a link to target, which need not exist, in this namespace or another."""
        return self._add(key, treeobj.symlink(target, namespace))

    def put_treeobj(self, key: str, obj: TreeObj | str | bytes) -> KVSTxn:
        """Set key to an RFC 11 object, given as a dict or as its JSON text. ProtocolError when it is none."""
        return self._add(key, treeobj.validate(obj) if isinstance(obj, dict) else treeobj.decode(obj))

    def clear(self) -> None:
        """Drop all operations."""
        self.ops = []

    def __len__(self) -> int:
        return len(self.ops)
