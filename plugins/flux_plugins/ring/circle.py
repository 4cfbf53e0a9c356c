"""Who is in the ring, and whether a packet has been here before. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["Circle", "Member", "Seen"]


class Member(msgspec.Struct):
    """One broker of the ring.

    Attributes:
        uri: where it listens. pubkey: its CURVE public key, Z85. epoch: its ring module.
    """

    rank: int
    uri: str
    pubkey: str
    epoch: str


class Circle:
    """The members of the ring, as one of them goes through them.

    Args:
        rank: of that one.
    """

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self.members: dict[int, Member] = {}

    def after(self) -> list[Member]:
        """The other members in the order in which they come after this rank."""
        others = [rank for rank in self.members if rank != self._rank]
        return [self.members[rank] for rank in sorted(others, key=lambda rank: (rank < self._rank, rank))]

    def between(self, rank: int) -> list[int]:
        """The members that are passed over when `rank` comes next after this one; all others when it is this one."""
        found = []
        for member in self.after():
            if member.rank == rank:
                break
            found.append(member.rank)
        return found


class Seen:
    """Finds packets that come a second time: a broker that hung sends on later what went another way meanwhile.

    Each way keeps the order of one sender's packets, so the newest number tells.
    """

    def __init__(self) -> None:
        self._newest: dict[tuple[int, str], int] = {}

    def is_new(self, origin: int, epoch: str, number: int) -> bool:
        """True the first time."""
        if number <= self._newest.get((origin, epoch), 0):
            return False
        self._newest[origin, epoch] = number
        return True

    def forget(self, origin: int) -> None:
        """A rank has come anew: its numbers begin again."""
        for key in [key for key in self._newest if key[0] == origin]:
            del self._newest[key]
