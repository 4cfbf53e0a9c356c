"""Fences: transactions of several clients, on any rank, that are committed as one (flux_kvs_fence(3))."""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.errors import FluxError
from flux.message import ROLE_OWNER
from flux_plugins.kvs.transaction import check_ops

if TYPE_CHECKING:
    from flux.message import Message
    from flux_plugins.kvs.module import Kvs
    from flux_plugins.kvs.requests import FenceRequest

__all__ = ["Fences"]

_REMEMBERED = 1024


class User(NamedTuple):
    """Credential of a client."""

    userid: int
    rolemask: int


class Fence:
    """One fence: who has entered, and what they want committed, in that order."""

    def __init__(self, first: FenceRequest) -> None:
        self.namespace, self.flags, self.nprocs = first.namespace, first.flags, first.nprocs
        self.ops: list[dict[str, Any]] = []
        self.entered: list[Message] = []

    def agrees(self, req: FenceRequest) -> bool:
        return (self.namespace, self.flags, self.nprocs) == (req.namespace, req.flags, req.nprocs)


class Fences:
    """The fences that are not complete, by name, and the names of the last ones that were.

    Args:
        kvs: the module, to commit and to answer with.
    """

    def __init__(self, kvs: Kvs) -> None:
        self._kvs = kvs
        self._waiting: dict[str, Fence] = {}
        self._complete: OrderedDict[str, None] = OrderedDict()

    @staticmethod
    def user_of(msg: Message, req: FenceRequest) -> User:
        """Who enters: the sender, or for whom another rank passes the request on."""
        if req.userid is not None and msg.rolemask & ROLE_OWNER:
            return User(req.userid, req.rolemask)
        return User(msg.userid, msg.rolemask)

    async def pass_on(self, msg: Message, req: FenceRequest) -> Any:
        """Enter at rank 0; answered once this rank, too, has the root that came of it."""
        request = {**(msg.payload or {}), **self.user_of(msg, req)._asdict()}
        root = await self._kvs.flux.rpc("kvs.fence", request, nodeid=0)
        await self._kvs.flux.rpc("kvs.wait-version", {"namespace": req.namespace, "rootseq": root["rootseq"]})
        return root

    def enter(self, msg: Message, req: FenceRequest, guest: bool) -> None:
        """Add a transaction, and commit all of them if it is the last one.

        Raises:
            FluxError: EINVAL for an empty name, nprocs below 1, and what differs from those who came before; EOVERFLOW
                when all have been there already; what `check_ops` raises.
        """
        check_ops(req.ops, guest)
        if not req.name or req.nprocs < 1:
            raise FluxError(errno.EINVAL, "a fence needs a name, and nprocs of at least 1")
        if req.name in self._complete:
            raise FluxError(errno.EOVERFLOW, f"fence {req.name} is complete: each name is for one fence")
        fence = self._waiting.setdefault(req.name, Fence(req))
        if not fence.agrees(req):
            raise FluxError(errno.EINVAL, f"fence {req.name} has another nprocs, other flags or another namespace")
        fence.ops += (msg.payload or {})["ops"]
        fence.entered.append(msg)
        if len(fence.entered) == fence.nprocs:
            self._close(req.name)
            self._kvs.spawn(self._commit(fence), f"fence {req.name}")

    def _close(self, name: str) -> None:
        del self._waiting[name]
        self._complete[name] = None
        if len(self._complete) > _REMEMBERED:
            self._complete.popitem(last=False)

    async def _commit(self, fence: Fence) -> None:
        request = {"namespace": fence.namespace, "flags": fence.flags, "ops": fence.ops}
        try:
            root = await self._kvs.flux.rpc("kvs.commit", request)
        except FluxError as exc:
            self._refuse(fence, exc)
            return
        for msg in fence.entered:
            self._kvs.respond(msg, root)

    def stop(self) -> None:
        for fence in self._waiting.values():
            self._refuse(fence, FluxError(errno.ENOSYS, "the kvs module is being unloaded"))

    def _refuse(self, fence: Fence, error: FluxError) -> None:
        for msg in fence.entered:
            self._kvs.respond_error(msg, error)
