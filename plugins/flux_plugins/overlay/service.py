"""What the overlay answers: `overlay.*` requests about this broker's parent and children, and what to do with them."""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec

from flux.errors import FluxError
from flux.idset import IDset
from flux.message import Message
from flux.module import DEFERRED, USER, Subscribers, Transport, request
from flux_plugins.overlay.peers import Peers
from flux_plugins.overlay.rejoin import ancestors
from flux_plugins.overlay.trace import Tap, Trace, TraceRequest

if TYPE_CHECKING:
    from flux_plugins.overlay.downstream import Downstream
    from flux_plugins.overlay.family import Family
    from flux_plugins.overlay.settings import Settings
    from flux_plugins.overlay.topology import Topology
    from flux_plugins.overlay.upstream import Upstream

__all__ = ["GOODBYE_TIMEOUT", "OverlayService"]

GOODBYE_TIMEOUT = 2.0  # seconds that a parent gets to answer a goodbye


class RankRequest(msgspec.Struct):
    rank: int


class ReparentRequest(msgspec.Struct):
    parent: int


class DisconnectParentRequest(msgspec.Struct):
    reason: str


class WaitChildrenRequest(msgspec.Struct):
    timeout: float | None = None


class OverlayService(Transport, ABC):
    """The requests of the overlay; how it is joined and kept is in `transport`."""

    settings: Settings
    topology: Topology
    family: Family

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.peers = Peers((), self._loop.time())
        self.parent_rank: int | None = None
        self._down: Downstream | None = None
        self._up: Upstream | None = None
        self._health_watchers = Subscribers(self)
        self._monitors = Subscribers(self)
        self._trace = Trace(self, self._set_tap)
        self._parting: dict[tuple[str, int], Message] = {}

    @abstractmethod
    def start_rejoin(self, candidates: list[int]) -> None:
        """Look for a parent among these ranks."""

    def _set_tap(self, tap: Tap | None) -> None:
        for end in (self._down, self._up):
            if end is not None:
                end.tap = tap

    def _health(self) -> dict[str, Any]:
        return self.peers.as_health(self.broker.rank, self._loop.time())

    @request("health", allow=USER, streaming="optional")
    def health(self, msg: Message) -> Any:
        if not msg.is_streaming:
            return self._health()
        self._health_watchers.add(msg)
        self.respond(msg, self._health())
        return DEFERRED

    @request("monitor", streaming=True)
    def monitor(self, msg: Message) -> Any:
        self._monitors.add(msg)
        return DEFERRED

    @request("topology", allow=USER, payload=RankRequest)
    def topology_get(self, _msg: Message, req: RankRequest) -> dict[str, object]:
        if req.rank != self.broker.rank and req.rank not in self.peers.by_rank:
            raise FluxError(errno.ENOENT, f"rank {req.rank} is not rank {self.broker.rank} or a child of it")
        return self.family.as_tree(req.rank)

    @request("parent", allow=USER)
    def parent(self, _msg: Message) -> dict[str, int]:
        """The rank of the parent at this moment. EINVAL on rank 0."""
        if self.parent_rank is None:
            raise FluxError(errno.EINVAL, f"rank {self.broker.rank} has no parent")
        return {"rank": self.parent_rank}

    @request("reparent", payload=ReparentRequest)
    def reparent(self, msg: Message, req: ReparentRequest) -> Any:
        """Come under another parent. Answered before it is done: the way of the answer is about to go."""
        self._check_new_parent(req.parent)
        self.respond(msg)
        self.spawn(self._move(req.parent), "reparent")
        return DEFERRED

    def _check_new_parent(self, parent: int) -> None:
        rank, above = self.broker.rank, ancestors(self.topology, self.broker.rank)
        if not self.settings.reparent_timeout:
            raise FluxError(errno.ENOTSUP, "tbon.reparent-timeout is 0: no broker may change its parent")
        if parent not in above:
            raise FluxError(errno.EINVAL, f"rank {parent} is not above rank {rank}: it may be {IDset(sorted(above))}")
        if parent == self.parent_rank:
            raise FluxError(errno.EEXIST, f"rank {parent} is the parent of rank {rank} already")

    async def _move(self, parent: int) -> None:
        up, former = self._up, self.parent_rank
        assert up is not None and former is not None
        await up.leave(GOODBYE_TIMEOUT, moving=True)
        self.start_rejoin([parent, former])

    @request("trace", streaming=True, payload=TraceRequest)
    def trace(self, msg: Message, req: TraceRequest) -> Any:
        self._trace.add(msg, req)
        return DEFERRED

    def stats(self) -> dict[str, Any]:
        pending = self.broker.switch.pending
        links = self._down.links() if self._down else []
        parent = self._up.link if self._up else None
        return {
            **self.peers.stats(),
            "tracers": len(self._trace),
            "parent-count": int(parent is not None),
            "parent-rpc": pending(parent) if parent else 0,
            "child-rpc": sum(pending(link) for link in links),
            "interthread": {"sendq": 0, "recvq": 0},
        }

    @request("stats-get", allow=USER)
    def stats_get(self, _msg: Message) -> dict[str, Any]:
        return {**self.runner.counters.as_dict(), **self.stats()}

    @request("disconnect-subtree", payload=RankRequest)
    def disconnect_subtree(self, _msg: Message, req: RankRequest) -> None:
        peer = self.peers.by_rank.get(req.rank)
        if peer is None or self._down is None:
            raise FluxError(errno.EINVAL, f"rank {req.rank} is not a child of rank {self.broker.rank}")
        if not peer.status.online:
            raise FluxError(errno.ENOENT, f"rank {req.rank} is {peer.status.name.lower()} already")
        self._down.disconnect(peer, "disconnected by request")

    @request("disconnect-parent", payload=DisconnectParentRequest)
    def disconnect_parent(self, _msg: Message, req: DisconnectParentRequest) -> Any:
        if self._up is None:
            raise FluxError(errno.EINVAL, "rank 0 has no parent")
        self._up.disconnect(req.reason)
        return DEFERRED

    # -- waiting for the children to leave

    @request("wait-children", payload=WaitChildrenRequest)
    def wait_children(self, msg: Message, req: WaitChildrenRequest) -> Any:
        """Answered when no child is connected; ETIMEDOUT after `timeout` seconds."""
        if not self.peers.online:
            return None
        key = (msg.sender, msg.matchtag)
        self._parting[key] = msg
        if req.timeout is not None:
            self._loop.call_later(req.timeout, self._give_up, key)
        return DEFERRED

    def _give_up(self, key: tuple[str, int]) -> None:
        msg = self._parting.pop(key, None)
        if msg is not None:
            ranks = IDset([peer.rank for peer in self.peers.online.values()])
            self.flux.respond_error(msg, errno.ETIMEDOUT, f"ranks {ranks} are still connected")

    def _answer_parting(self) -> None:
        parting, self._parting = self._parting, {}
        for msg in parting.values():
            self.respond(msg)

    def disconnected(self, sender: str) -> None:
        for key in [key for key in self._parting if key[0] == sender]:
            del self._parting[key]
