"""Rank 0: the transactions of other ranks by name, so that one which is relayed twice is committed once. No I/O."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Outcome", "Relays"]

KEPT = 4096
"""How many outcomes are remembered: more than can be under way when a broker is lost."""


class Outcome(NamedTuple):
    """The event that tells how a transaction ended: kvs.namespace-NAMESPACE-what with that payload."""

    namespace: str
    what: str
    payload: dict[str, Any]


class Relays:
    """Transactions under way, and the newest of those that have ended."""

    def __init__(self) -> None:
        self._under_way: set[str] = set()
        self._ended: dict[str, Outcome] = {}

    def is_known(self, name: str) -> bool:
        return name in self._under_way or name in self._ended

    def begin(self, name: str) -> None:
        """A transaction has come."""
        self._under_way.add(name)

    def end(self, name: str, outcome: Outcome) -> None:
        """A transaction has ended; one that has not come from another rank is of no interest."""
        if name not in self._under_way:
            return
        self._under_way.discard(name)
        self._ended[name] = outcome
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def outcome(self, name: str) -> Outcome | None:
        """How it ended; None while it has not."""
        return self._ended.get(name)
