"""Rank 0: the transactions of other ranks by name, so that one which is relayed twice is committed once. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.module import DEFERRED

if TYPE_CHECKING:
    from flux.message import Message
    from flux_plugins.kvs.transaction import Transaction

__all__ = ["Relays"]

KEPT = 4096
"""How many outcomes are remembered: more than can be under way when a broker is lost."""


class Relays:
    """Transactions under way, and how the newest of those that have ended did."""

    def __init__(self) -> None:
        self._under_way: dict[str, Transaction] = {}
        self._ended: dict[str, dict[str, Any] | FluxError] = {}

    def begin(self, transaction: Transaction) -> None:
        """A transaction has come."""
        self._under_way[transaction.name] = transaction

    def end(self, transaction: Transaction, result: dict[str, Any] | FluxError) -> None:
        """A transaction has ended; one that has not come from another rank is of no interest."""
        if self._under_way.pop(transaction.name, None) is None:
            return
        self._ended[transaction.name] = result
        if len(self._ended) > KEPT:
            del self._ended[next(iter(self._ended))]

    def is_known(self, name: str) -> bool:
        return name in self._under_way or name in self._ended

    def answer_again(self, name: str, msg: Message) -> Any:
        """The answer to who asks once more; of one under way, msg will be answered instead of the first request."""
        if name in self._under_way:
            self._under_way[name].msg = msg
            return DEFERRED
        result = self._ended[name]
        if isinstance(result, FluxError):
            raise result
        return result
