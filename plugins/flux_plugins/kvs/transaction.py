"""Transactions as they come in: checked operations, and whoever waits for the outcome."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flux.constants import FLUX_KVS_APPEND, FLUX_KVS_NO_MERGE, FLUX_KVS_SYNC
from flux.errors import FluxError, ProtocolError
from flux.kvs import treeobj
from flux.kvs.treeobj import TreeObj
from flux_plugins.kvs.keys import split_key

if TYPE_CHECKING:
    import asyncio

    from flux.message import Message

__all__ = ["Edit", "Op", "Transaction", "check_ops"]


class Op(msgspec.Struct):
    """One operation on the wire: set key to dirent, append to it (flags 32), or remove it (null)."""

    key: str
    flags: int
    dirent: dict[str, Any] | None


class Edit(NamedTuple):
    """One checked operation."""

    path: list[str]
    dirent: TreeObj | None
    append: bool


class Transaction:
    """A transaction that waits to be committed.

    Args:
        name: as it appears in the event that tells of the new root.
        msg: the request to answer, of a client or of another rank; None when this module itself makes it.
        outcome: then gets the root that came of it, or the error.
    """

    __slots__ = ("edits", "flags", "msg", "name", "outcome")

    def __init__(
        self,
        name: str,
        edits: list[Edit],
        flags: int,
        msg: Message | None,
        outcome: asyncio.Future[dict[str, Any]] | None = None,
    ) -> None:
        self.name = name
        self.edits = edits
        self.flags = flags
        self.msg = msg
        self.outcome = outcome

    def end(self, result: dict[str, Any] | FluxError) -> None:
        """Tell the root that came of it, or the error, to whoever in this module has not been stopped meanwhile."""
        if self.outcome is None or self.outcome.done():
            return
        if isinstance(result, FluxError):
            self.outcome.set_exception(result)
        else:
            self.outcome.set_result(result)

    @property
    def mergeable(self) -> bool:
        return not self.flags & FLUX_KVS_NO_MERGE

    @property
    def sync(self) -> bool:
        return bool(self.flags & FLUX_KVS_SYNC)


def check_ops(ops: list[Op], guest: bool) -> list[Edit]:
    """Operations to edits.

    Args:
        guest: True for users other than the instance owner, who may not commit references.

    Raises:
        FluxError: EINVAL for the root as a key, EPERM for what guests may not do.
        ProtocolError: a dirent that is no tree object.
    """
    return [_check_op(op, guest) for op in ops]


def _check_op(op: Op, guest: bool) -> Edit:
    path = split_key(op.key)
    if not path:
        raise FluxError(errno.EINVAL, "the root directory cannot be written to: '.' is no key to commit")
    append = bool(op.flags & FLUX_KVS_APPEND)
    if op.dirent is not None:
        _check_dirent(op)
        if guest:
            _check_guest(op.dirent)
    if append and (op.dirent is None or op.dirent["type"] != "val"):
        raise ProtocolError(f"appending to {op.key} needs a val")
    return Edit(path, op.dirent, append)


def _check_dirent(op: Op) -> None:
    try:
        treeobj.validate(op.dirent)
    except RecursionError:
        raise ProtocolError(f"the directory for {op.key} is nested too deeply") from None


def _check_guest(dirent: TreeObj) -> None:
    kind = dirent["type"]
    if kind != "val" and not (kind == "dir" and not dirent["data"]):
        raise FluxError(errno.EPERM, f"guests may not commit {kind} objects")
