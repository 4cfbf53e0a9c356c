"""How much output of a job goes into the KVS (shell option output.limit)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flux.util import format_size, parse_size

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["Limit"]

LOG_WARNING = 4
GREATEST = 1 << 30
GUESTS = 10 << 20
"""Limit for jobs of others than the owner of the instance, unless they ask for another."""


class Limit:
    """Counts the bytes of one stream of all tasks.

    Args:
        asked: bytes as a number, or text such as "50M"; None for the default.

    Raises:
        ValueError: asked is no size, or not between 1 and 1G.
    """

    def __init__(self, shell: Shell, stream: str, asked: object) -> None:
        self._shell, self._stream = shell, stream
        self._bytes = None if asked is None else _checked(asked)
        self._seen = 0

    def admits(self, count: int) -> bool:
        """Count bytes; False when they are too many. Says so the first time."""
        before, self._seen = self._seen, self._seen + count
        if self._bytes is None and self._seen <= GUESTS:
            return True
        limit = self._limit()
        if self._seen <= limit:
            return True
        if before <= limit:
            self._warn(f"{self._stream} will be truncated, {format_size(limit)} limit exceeded")
        return False

    def _limit(self) -> int:
        if self._bytes is None:
            owner = int(self._shell.flux.attr_get("security.owner"))
            self._bytes = GREATEST if owner == os.getuid() else GUESTS
        return self._bytes

    def report(self) -> None:
        """Say how much was left out."""
        if self._bytes is not None and self._seen > self._bytes:
            self._warn(f"{self._stream}: {self._seen - self._bytes} of {self._seen} bytes truncated")

    def _warn(self, text: str) -> None:
        self._shell.log(LOG_WARNING, text, "output")


def _checked(asked: object) -> int:
    try:
        size = asked if isinstance(asked, int) else parse_size(str(asked))
    except ValueError as exc:
        raise ValueError(f"Invalid KVS output.limit={asked}: {exc}") from None
    if not 0 < size <= GREATEST:
        raise ValueError(f"Invalid KVS output.limit={asked}: it is between 1 and 1G")
    return size
