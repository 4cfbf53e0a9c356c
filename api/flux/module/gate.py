"""The way between a module and the switch, for those who watch it or hold it up (RFC 5: module.trace, module.debug).

A gate stands there only while it is needed: at other times a message passes no code of this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flux.message import Message

__all__ = ["Gate"]

End = tuple[Any, str]  # an object, and the name of its method that takes messages


class Gate:
    """Watches what a module takes and sends, and defers what it sends.

    Args:
        inward, outward: where messages for the module, and those of the module, are handed on.
        show: called with "rx" or "tx" and each message while the module is watched.
    """

    def __init__(self, inward: End, outward: End, show: Callable[[str, Message], None]) -> None:
        self._inward, self._outward, self._show = inward, outward, show
        self._take, self._send = getattr(*inward), getattr(*outward)
        self._watched = False
        self._deferred: list[Message] | None = None

    def watch(self, on: bool) -> None:
        """Show messages from now on, or no more."""
        self._watched = on
        self._place()

    def defer(self, on: bool) -> None:
        """Keep what the module sends, or let all of it go."""
        kept, self._deferred = self._deferred or [], None
        for msg in () if on else kept:
            self._send(msg)
        self._deferred = kept if on else None
        self._place()

    def _place(self) -> None:
        setattr(*self._inward, self._inwards if self._watched else self._take)
        setattr(*self._outward, self._outwards if self._watched or self._deferred is not None else self._send)

    def _inwards(self, msg: Message) -> None:
        self._show("rx", msg)
        self._take(msg)

    def _outwards(self, msg: Message) -> None:
        if self._watched:
            self._show("tx", msg)
        if self._deferred is None:
            self._send(msg)
        else:
            self._deferred.append(msg)
