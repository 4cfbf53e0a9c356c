"""The newest events of a broker, kept for children that come from another parent. Pure."""

from __future__ import annotations

from collections import deque

__all__ = ["Backlog"]


class Backlog:
    """A bounded ring of events, as the frames that go to a child.

    Args:
        count: how many events to keep at most.
        size: how many bytes to keep at most.
    """

    def __init__(self, count: int, size: int) -> None:
        self._limit, self._size_limit = count, size
        self._ring: deque[tuple[int, list[bytes], int]] = deque()
        self.size = 0

    def add(self, sequence: int, frames: list[bytes]) -> None:
        """Keep an event, and forget the oldest ones beyond the limits."""
        size = sum(map(len, frames))
        self._ring.append((sequence, frames, size))
        self.size += size
        while len(self._ring) > self._limit or (self.size > self._size_limit and self._ring):
            self.size -= self._ring.popleft()[2]

    def after(self, sequence: int, newest: int) -> list[list[bytes]] | None:
        """The events sequence + 1 to newest, in order; None when some of them are forgotten."""
        if sequence >= newest:
            return []
        found = [frames for number, frames, _ in self._ring if number > sequence]
        return found if len(found) == newest - sequence else None

    def __len__(self) -> int:
        return len(self._ring)
