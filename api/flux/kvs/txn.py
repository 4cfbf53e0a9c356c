"""KVS transactions: operations that are applied together, in order (flux_kvs_txn_create(3))."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from flux.constants import FLUX_KVS_APPEND
from flux.errors import FluxError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj

__all__ = ["KVSTxn"]

_encode_json = msgspec.json.Encoder().encode


class KVSTxn:
    """A list of operations for `flux.kvs.commit` or `commit_async`; each method adds one.

    Attributes:
        ops: the operations as they go on the wire: {"key", "flags", "dirent"}.

    A key is a path with "." between its parts. What stands in the way of an operation is overwritten.
    """

    __slots__ = ("ops",)

    def __init__(self) -> None:
        self.ops: list[dict[str, Any]] = []

    def _add(self, key: str, dirent: TreeObj | None, flags: int = 0) -> KVSTxn:
        if not key:
            raise FluxError(errno.EINVAL, "a key cannot be empty")
        self.ops.append({"key": key, "flags": flags, "dirent": dirent})
        return self

    def put(self, key: str, obj: Any) -> KVSTxn:
        """Set key to the JSON text of a Python object. TypeError when JSON cannot hold it."""
        return self._add(key, treeobj.val(_encode_json(obj)))

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
