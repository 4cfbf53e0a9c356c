"""The tap on overlay connections (`overlay.trace`); it is open only while somebody looks."""

from __future__ import annotations

from collections.abc import Callable

from flux.message import Message
from flux.module import Module
from flux.module.trace import ANY_PEER, TraceRequest
from flux.module.trace import Trace as MessageTrace

__all__ = ["ANY_PEER", "Tap", "Trace", "TraceRequest"]

Tap = Callable[[str, int, Message], None]
"""Called with "rx" or "tx", the rank of the peer (ANY_PEER for all children) and the message."""


class Trace(MessageTrace):
    """Those who look at overlay connections.

    Args:
        module: the service that answers.
        switch_tap: called with the function that is to see all messages, or with None when nobody looks any more.
    """

    def __init__(self, module: Module, switch_tap: Callable[[Tap | None], None]) -> None:
        super().__init__(module, lambda: switch_tap(self.current_tap))

    @property
    def current_tap(self) -> Tap | None:
        return self._see if len(self) else None

    def _see(self, prefix: str, rank: int, msg: Message) -> None:
        self.show(prefix, msg, rank)
