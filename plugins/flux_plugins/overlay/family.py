"""Who is behind whom at this moment, as one broker knows it: the tree of the start, and who has moved since. Pure."""

from __future__ import annotations

from flux_plugins.overlay.peers import Peers
from flux_plugins.overlay.topology import Topology

__all__ = ["Family"]


class Family:
    """The subtree of one broker.

    Args:
        rank: of the broker. tree: as the instance started. peers: its children, adopted ones among them.
    """

    def __init__(self, rank: int, tree: Topology, peers: Peers) -> None:
        self.rank, self.tree, self.peers = rank, tree, peers

    def behind(self, rank: int) -> set[int]:
        """The rank and those below it, without those that have come under this broker from there."""
        found = set(self.tree.subtree(rank))
        for peer in self.peers.adopted():
            if peer.rank != rank and peer.rank in found:
                found -= set(self.tree.subtree(peer.rank))
        return found

    def as_tree(self, rank: int) -> dict[str, object]:
        """The subtree of this broker or of a child as `overlay.topology` answers it."""
        moved = {peer.rank: self.rank for peer in self.peers.adopted()}
        if not moved:
            return self.tree.as_tree(rank)
        parents = [moved.get(r, self.tree.parent(r) or 0) for r in range(self.tree.size)]
        return Topology(parents, self.tree.shape).as_tree(rank)
