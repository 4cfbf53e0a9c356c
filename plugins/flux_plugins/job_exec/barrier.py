"""The barrier that the shells of a job meet at."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from flux.errors import FluxError
from flux.message import Message

__all__ = ["Barrier"]


class Barrier:
    """Shells that wait for the others, by broker rank.

    Args:
        send: puts a response on the wire. Shells of stock Flux mark their requests noresponse and wait all the same.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._waiting: dict[int, Message] = {}
        self._rounds = 0

    def enter(self, rank: int, msg: Message, active: list[int], complete: bool, round: int | None = None) -> bool:
        """A shell has got here; True when that lets all of them go on.

        Args:
            active: ranks of the shells that are not gone. complete: none is gone.
            round: how often the shell was here before, when it says so: it may enter again, not knowing whether it
                was heard the first time.

        FluxError EINVAL for a rank that is not among them, EIO when one that was is gone.
        """
        if round is not None and round < self._rounds:
            self._send(msg.respond())
            return False
        if rank not in active or (rank in self._waiting and round is None):
            raise FluxError(errno.EINVAL, f"rank {rank} is not pending in barrier")
        if not complete:
            raise FluxError(errno.EIO, "a shell of this job has ended already")
        if round is not None and round > self._rounds:
            self._rounds = round  # an execution service before this one has let the shells pass that often
            self._release(None, 0)
        self._waiting[rank] = msg
        if len(self._waiting) < len(active):
            return False
        self._rounds += 1
        self._release(None, 0)
        return True

    def fail(self) -> None:
        """A shell is gone: those that wait will not see it again."""
        self._release("another shell of this job has ended", errno.EIO)

    def let_go(self) -> None:
        """Shells that wait are to ask the next execution service."""
        self._release("the execution service is exchanged", errno.EHOSTUNREACH)

    def _release(self, payload: Any, errnum: int) -> None:
        waiting, self._waiting = self._waiting, {}
        for msg in waiting.values():
            self._send(msg.respond(payload, errnum=errnum))

    def missing(self, active: list[int]) -> list[int]:
        """Ranks that the others wait for."""
        return [rank for rank in active if rank not in self._waiting]

    def __len__(self) -> int:
        return len(self._waiting)
