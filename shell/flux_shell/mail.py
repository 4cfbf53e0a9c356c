"""What the shells of a job tell each other: everything once and in order, also when brokers on the way are lost.

A letter is a request that carries its sender and a number in `mail`: another shell by its rank, a client that sends
standard input by a word of its own. One that comes back with EHOSTUNREACH is
sent again; the receiver leaves aside what it has had, and keeps what came early until the rest is there.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from typing import Any

from flux.core.steady import FIRST_DELAY, LONGEST_DELAY, LOST
from flux.errors import FluxError
from flux.message import Message
from flux.rpc import RPC

__all__ = ["Inbox", "Outbox"]

MOST_OPEN = 16
"""Letters that may be on their way from one shell before its tasks are made to wait."""

ANSWER_TIMEOUT = 1.0
"""Seconds to wait for answers once nobody needs the letters: not all brokers say that a shell ended with one unread."""

Post = Callable[[int, str, dict[str, Any]], RPC]


class Outbox:
    """Letters to the other shells.

    Args:
        flux: the handle. rank: of this shell. post: sends a request to a shell.
        reconnects: the handle comes back when its connection is lost.

    Attributes:
        patient: False to give up what cannot be delivered at once.
        met: True once the other shells are known to be there; before, one that is not found is still to come.
        on_drained: called as letters are received, once there are few enough.
    """

    def __init__(self, flux: Any, rank: int, post: Post, reconnects: bool = False) -> None:
        self._flux, self._rank, self._post = flux, rank, post
        self._reconnects = reconnects
        self._numbers: dict[int, int] = {}
        self._open = 0
        self._finishing = self._given_up = False
        self.patient = True
        self.met = False
        self.on_drained: list[Callable[[], None]] = []

    @property
    def idle(self) -> bool:
        """True when every letter was received, or given up."""
        return self._given_up or not self._open

    @property
    def is_full(self) -> bool:
        """True when so many letters are on their way that tasks should wait before they write more."""
        return self._open >= MOST_OPEN

    def finish(self) -> None:
        """Give up what is not answered in time."""
        if self._open and not self._finishing:
            self._finishing = True
            self._flux.call_later(ANSWER_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        self.patient = False
        self._given_up = True

    def send(self, shell_rank: int, method: str, payload: dict[str, Any]) -> None:
        """Errors: those of `post`; what raised is not sent, and has no number."""
        number = self._numbers.get(shell_rank, 0) + 1
        self._try(shell_rank, method, {**payload, "mail": [self._rank, number]}, FIRST_DELAY)
        self._numbers[shell_rank] = number
        self._open += 1

    def _try(self, shell_rank: int, method: str, letter: dict[str, Any], delay: float) -> None:
        try:
            self._post(shell_rank, method, letter).then(self._answered, shell_rank, method, letter, delay)
        except FluxError as exc:
            if not self._is_repeated(exc, delay):
                raise
            self._later(shell_rank, method, letter, delay)

    def _is_repeated(self, error: FluxError, delay: float) -> bool:
        """True for what passes; a shell that others do not find has ended, or comes back soon."""
        is_missing = error.errno == errno.ENOSYS
        reachable_again = self._reconnects and (error.errno in LOST or (is_missing and delay < LONGEST_DELAY))
        is_to_come = is_missing and not self.met
        return self.patient and (error.errno == errno.EHOSTUNREACH or is_to_come or reachable_again)

    def _later(self, shell_rank: int, method: str, letter: dict[str, Any], delay: float) -> None:
        longer = min(2 * delay, LONGEST_DELAY)
        self._flux.call_later(delay, lambda: self._try(shell_rank, method, letter, longer))

    def _answered(self, rpc: RPC, shell_rank: int, method: str, letter: dict[str, Any], delay: float) -> None:
        try:
            rpc.get()
        except FluxError as exc:
            if self._is_repeated(exc, delay):
                self._later(shell_rank, method, letter, delay)
                return
            if exc.errno != errno.ENOSYS:  # a shell that has ended needs no letters
                sys.stderr.write(f"flux-shell[{self._rank}]: ERROR: {method} to shell {shell_rank}: {exc}\n")
        self._open -= 1
        if not self.is_full:
            for callback in self.on_drained:
                callback()


class Inbox:
    """Letters from the other shells, and from clients. No I/O."""

    def __init__(self) -> None:
        self._due: dict[int | str, int] = {}
        self._early: dict[tuple[int | str, int], Message] = {}

    def take(self, msg: Message, sender: int | str, number: int) -> tuple[list[Message], bool]:
        """A letter has come.

        Returns:
            The letters to be read now, in order; and whether this one was read before.
        """
        due = self._due.get(sender, 1)
        if number < due:
            return [], True
        self._early[sender, number] = msg
        ready = []
        while (sender, due) in self._early:
            ready.append(self._early.pop((sender, due)))
            due += 1
        self._due[sender] = due
        return ready, False
