"""What a broker knows of its children: a pure table of peers and their subtree status.

No socket and no clock: times are given in, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

__all__ = ["Peer", "Peers", "Status"]


class Status(IntEnum):
    """Subtree status, as numbered on the wire."""

    UNKNOWN = 0
    FULL = 1
    PARTIAL = 2
    DEGRADED = 3
    LOST = 4
    OFFLINE = 5

    @property
    def online(self) -> bool:
        return Status.FULL <= self <= Status.DEGRADED


@dataclass
class Peer:
    """One child.

    Attributes:
        uuid: of its current or last connection. connection: descriptor that its messages come from; -1 none.
        since: when the status was entered. last_seen: when it last sent something.
        torpid: silent for too long. error: why it was lost or refused.
        adopted: it came from a parent below this broker.
        answers: it wants signs of life of its parent. last_sent: when it was last sent something.
        unheard: bytes sent since it was last heard.
    """

    rank: int
    since: float
    status: Status = Status.OFFLINE
    uuid: str = ""
    connection: int = -1
    last_seen: float = 0.0
    torpid: bool = False
    error: str = ""
    adopted: bool = False
    answers: bool = False
    last_sent: float = 0.0
    unheard: int = 0

    def as_health(self, now: float) -> dict[str, Any]:
        """Its entry in an `overlay.health` response; duration in seconds."""
        entry = {"rank": self.rank, "status": self.status.name.lower(), "duration": now - self.since}
        if self.error:
            entry["error"] = self.error
        return entry


class Peers:
    """The children of a broker, and the status of the subtree that follows from theirs.

    Args:
        ranks: the children.
        now: the time.
    """

    def __init__(self, ranks: Iterable[int], now: float) -> None:
        self.by_rank: dict[int, Peer] = {rank: Peer(rank, now) for rank in ranks}
        self.online: dict[str, Peer] = {}
        self.since = now
        self.status = self._judge()

    def expect(self, rank: int, now: float) -> Peer:
        """The entry of a child; a rank that is none is adopted."""
        if rank not in self.by_rank:
            self.by_rank[rank] = Peer(rank, now, adopted=True)
        return self.by_rank[rank]

    def adopted(self) -> list[Peer]:
        """The children that came from a parent below this broker and are connected."""
        return [peer for peer in self.online.values() if peer.adopted]

    def connected(self, rank: int, uuid: str, status: Status, connection: int, now: float) -> Peer:
        """A child has said hello."""
        peer = self.by_rank[rank]
        peer.uuid, peer.connection, peer.error = uuid, connection, ""
        peer.last_seen, peer.torpid, peer.unheard = now, False, 0
        self.online[uuid] = peer
        self._enter(peer, status if status.online else Status.FULL, now)
        return peer

    def gone(self, peer: Peer, status: Status, error: str, now: float, moved: bool = False) -> None:
        """A child is no longer connected: OFFLINE after a goodbye, else LOST; `moved`: it is another parent's now."""
        self.online.pop(peer.uuid, None)
        peer.connection, peer.torpid, peer.error = -1, False, error
        if moved or (peer.adopted and status is Status.OFFLINE):
            del self.by_rank[peer.rank]
        self._enter(peer, status, now)

    def changed(self, peer: Peer, status: Status, now: float) -> bool:
        """A child reports the status of its subtree; True when it is another one."""
        if not status.online or status is peer.status:
            return False
        self._enter(peer, status, now)
        return True

    def silent(self, now: float, limit: float) -> list[Peer]:
        """Flag children that sent nothing for longer than limit seconds; gives those newly flagged."""
        found = [p for p in self.online.values() if not p.torpid and now - p.last_seen > limit]
        for peer in found:
            peer.torpid = True
        return found

    def by_connection(self, connection: int) -> Peer | None:
        """The online child whose messages come from a descriptor."""
        return next((p for p in self.online.values() if p.connection == connection), None)

    def _enter(self, peer: Peer, status: Status, now: float) -> None:
        peer.status, peer.since = status, now
        own = self._judge()
        if own is not self.status:
            self.status, self.since = own, now

    def _judge(self) -> Status:
        states = {peer.status for peer in self.by_rank.values()}
        if states & {Status.DEGRADED, Status.LOST}:
            return Status.DEGRADED
        if states & {Status.PARTIAL, Status.OFFLINE, Status.UNKNOWN}:
            return Status.PARTIAL
        return Status.FULL

    def as_health(self, rank: int, now: float) -> dict[str, Any]:
        """The `overlay.health` response of the broker of that rank."""
        return {
            "rank": rank,
            "status": self.status.name.lower(),
            "duration": now - self.since,
            "children": [peer.as_health(now) for _, peer in sorted(self.by_rank.items())],
        }

    def stats(self) -> Mapping[str, int]:
        return {"child-count": len(self.by_rank), "child-connected": len(self.online)}
