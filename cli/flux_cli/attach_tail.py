"""The last lines of what a job has printed so far (flux-job(1) attach --tail)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["Tail"]


class Tail:
    """Keeps chunks of output until `release`, and of them the last lines.

    Args:
        count: number of lines. write: called by `release` with (stream, ranks, data) of each chunk.
    """

    def __init__(self, count: int, write: Callable[[str, str, bytes], object]) -> None:
        self._lines: deque[tuple[str, str, bytes]] = deque(maxlen=count)
        self._write = write

    def add(self, stream: str, ranks: str, data: bytes) -> None:
        """Take a chunk of any number of lines."""
        self._lines.extend((stream, ranks, line) for line in data.splitlines(keepends=True))

    def release(self) -> None:
        """Write what was kept."""
        for line in self._lines:
            self._write(*line)
        self._lines.clear()
