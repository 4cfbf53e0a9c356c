"""Groups of broker ranks, gathered at rank 0 (groups.join, leave, get; protocol of stock Flux)."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from flux.constants import FLUX_NODEID_UPSTREAM
from flux.errors import FluxError, ProtocolError
from flux.idset import IDset
from flux.message import FLAG_STREAMING, ROLE_LOCAL, Message
from flux.module import ALL, DEFERRED, USER, Module, Subscribers, request

__all__ = ["Groups"]


class NameRequest(msgspec.Struct):
    name: str


class Change(msgspec.Struct):
    ranks: str
    set: bool


class UpdateRequest(msgspec.Struct):
    update: dict[str, list[Change]]


class Groups(Module):
    """Keeps, on every rank, the members of its own subtree; on rank 0 that is everyone."""

    name = "groups"
    stage = "boot"
    isolatable = False
    reloadable = False

    def __init__(self) -> None:
        self.subtree: dict[str, IDset] = {}
        self._own: set[str] = set()
        self._changes: dict[str, list[dict[str, Any]]] = {}
        self._watchers: dict[str, Subscribers] = {}
        self._flush_due = False

    def start(self) -> None:
        if self.size > 1:
            self.spawn(self._watch_children(), "watch children")

    async def _watch_children(self) -> None:
        """Keep the groups true to who is connected: what a lost broker had joined, it is no longer in."""
        try:
            async for change in self.flux.rpc("overlay.monitor", nodeid=self.rank, flags=FLAG_STREAMING):
                if change.get("parent"):
                    await self._tell_all()
                else:
                    self._child_changed(change["rank"], change["torpid"], IDset(change["gone"]))
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise

    def _child_changed(self, rank: int, torpid: bool, gone: IDset) -> None:
        if torpid != (rank in self.subtree.get("broker.torpid", ())):
            self._change("broker.torpid", IDset(str(rank)), torpid)
        self.drop_ranks(gone)

    async def _tell_all(self) -> None:
        """There is another parent: tell it who of this subtree is in which group, and that nobody else is."""
        tree = await self.flux.rpc("overlay.topology", {"rank": self.rank}, nodeid=self.rank)
        ranks = _ranks_of(tree)
        for name, members in self.subtree.items():
            mine = members.intersect(ranks)
            self._changes[name] = [{"ranks": str(ranks), "set": False}, {"ranks": str(mine), "set": True}]
        self._flush()

    @request("join", payload=NameRequest)
    def join(self, msg: Message, req: NameRequest) -> None:
        self._require_local(msg)
        if req.name in self._own:
            raise FluxError(errno.EEXIST, f"rank {self.rank} is in group {req.name} already")
        self._own.add(req.name)
        self._change(req.name, IDset(str(self.rank)), True)

    @request("leave", payload=NameRequest)
    def leave(self, msg: Message, req: NameRequest) -> None:
        self._require_local(msg)
        if req.name not in self._own:
            raise FluxError(errno.ENOENT, f"rank {self.rank} is not in group {req.name}")
        self._own.discard(req.name)
        self._change(req.name, IDset(str(self.rank)), False)

    def _require_local(self, msg: Message) -> None:
        if not msg.rolemask & ROLE_LOCAL:
            raise ProtocolError(f"{msg.topic} is restricted to the local broker")

    @request("update", payload=UpdateRequest)
    def update(self, _msg: Message, req: UpdateRequest) -> Any:
        for name, changes in req.update.items():
            for change in changes:
                self._change(name, IDset(change.ranks), change.set)
        return DEFERRED

    def _change(self, name: str, ranks: IDset, add: bool) -> None:
        members = self.subtree.setdefault(name, IDset())
        for rank in ranks:
            if add:
                members.set(rank)
            else:
                members.clear(rank)
        self._changes.setdefault(name, []).append({"ranks": str(ranks), "set": add})
        if not self._flush_due:
            self._flush_due = True
            self.flux.call_soon(self._flush)

    def _flush(self) -> None:
        """Tell upstream, or on rank 0 the watchers, everything that changed in this turn of the loop."""
        self._flush_due = False
        changes, self._changes = self._changes, {}
        if self.rank > 0:
            self.flux.notify("groups.update", {"update": changes}, FLUX_NODEID_UPSTREAM)
            return
        for name in changes:
            if name in self._watchers:
                self._watchers[name].publish({"members": str(self.subtree[name])})

    @request("get", allow=USER, streaming="optional", payload=NameRequest)
    def get(self, msg: Message, req: NameRequest) -> Any:
        if self.rank != 0:
            raise ProtocolError("this RPC is only available on rank 0")
        members = {"members": str(self.subtree.get(req.name, IDset()))}
        if not msg.is_streaming:
            return members
        if req.name not in self._watchers:
            self._watchers[req.name] = Subscribers(self)
        self._watchers[req.name].add(msg)
        self.respond(msg, members)
        return DEFERRED

    def drop_ranks(self, ranks: IDset) -> None:
        """Remove ranks that are gone from every group."""
        for name, members in self.subtree.items():
            gone = members.intersect(ranks)
            if len(gone):
                self._change(name, gone, False)

    @request("stats-get", allow=ALL)
    def stats_get(self, _msg: Message) -> dict[str, Any]:
        return {"subtree": {name: str(members) for name, members in self.subtree.items()}}


def _ranks_of(tree: dict[str, Any]) -> IDset:
    """All ranks of an `overlay.topology` answer."""
    ranks = IDset([tree["rank"]])
    for child in tree["children"]:
        ranks.add(_ranks_of(child))
    return ranks
