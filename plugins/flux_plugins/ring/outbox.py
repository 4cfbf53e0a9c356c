"""What was handed to the next broker and has not come to its end, so that another one can get it. Pure.

A packet is kept by every broker that it has passed until its target has it: a broker that dies takes none with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["Outbox", "Receipts"]

Done = Callable[[], None]


class Outbox:
    """Packets in the order in which they go out, as frames, and whom to tell of the end of each."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[list[bytes], Done]] = deque()
        self._ended = 0

    def add(self, frames: list[bytes], done: Done) -> None:
        self._waiting.append((frames, done))

    def ended(self, count: int) -> None:
        """The first packets that the next broker was sent are at their end, that many in all."""
        ended = [self._waiting.popleft() for _ in range(min(count - self._ended, len(self._waiting)))]
        self._ended = max(count, self._ended)
        for _, done in ended:
            done()

    def begin(self) -> list[list[bytes]]:
        """There is another next broker: what it has to be sent first."""
        self._ended = 0
        return [frames for frames, _ in self._waiting]

    def take_all(self) -> list[tuple[list[bytes], Done]]:
        """There is nobody to send to: give everything back."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def __len__(self) -> int:
        return len(self._waiting)


class Receipts:
    """The packets that came in over one connection: how many there were, and how many of the first are at their end.

    Args:
        changed: called when `ended` is another number.
    """

    def __init__(self, changed: Callable[[Receipts], None]) -> None:
        self.received = self.ended = 0
        self._early: set[int] = set()
        self._changed = changed

    def receive(self) -> Done:
        """There is one more; call the result when it is at its end."""
        number, self.received = self.received, self.received + 1

        def done() -> None:
            self._early.add(number)
            if number == self.ended:
                while self.ended in self._early:
                    self._early.remove(self.ended)
                    self.ended += 1
                self._changed(self)

        return done
