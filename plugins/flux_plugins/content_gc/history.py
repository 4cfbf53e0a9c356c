"""Which epochs of the backing store are over for long enough that what was not used since may go. No I/O."""

from __future__ import annotations

__all__ = ["History"]


class History:
    """Epochs and when they ended, in the order they did.

    What bears an epoch that ended `grace` seconds ago, and before the last one did, was in use neither by the round
    that ended it, nor by a later one: time enough for whoever holds a reference, and has not committed it yet.

    Args:
        grace: seconds.
    """

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self._ended: list[tuple[int, float]] = []

    def end(self, epoch: int, now: float) -> int | None:
        """An epoch is over, and what is in use will be marked; gives the newest that may be swept then, if any."""
        ripe = [older for older, when in self._ended if older < epoch and now - when >= self.grace]
        if ripe:
            self._ended = [(older, when) for older, when in self._ended if older >= ripe[-1]]
        self._ended.append((epoch, now))
        return ripe[-1] if ripe else None

    def due(self, now: float) -> bool:
        """Whether a round could sweep more than the one before it."""
        return not self._ended or now - self._ended[-1][1] >= self.grace
