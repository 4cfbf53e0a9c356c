"""The link to a module in the broker's own process: messages are handed over by reference."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable

from flux.message import FLAG_NORESPONSE, REQUEST, RESPONSE, ROLE_LOCAL, ROLE_OWNER, Message
from flux.module.defaults import Counters

__all__ = ["HELD_LIMIT", "ModuleLink"]

HELD_LIMIT = 65536
"""Messages kept for a module that has not started; further requests are refused with ENOBUFS."""


class ModuleLink:
    """Queue to one module; everything that arrives in one turn of the loop is handled in the next.

    Until `open` is called requests and events are held, so that a module is served only what comes after its start.

    Args:
        owner_id: user id of the instance owner.
        route: called with what the module sends, and this link; the switch's `receive`.
    """

    owner = True
    rolemask = ROLE_OWNER | ROLE_LOCAL

    def __init__(self, uuid: str, owner_id: int, route: Callable[[Message, ModuleLink], None]) -> None:
        self.uuid = uuid
        self.userid = owner_id
        self.counters: Counters | None = None
        self.receive: Callable[[Message], None] = lambda _msg: None
        self._route = route
        self._inbox: deque[Message] = deque()
        self._held: list[Message] = []
        self._opened = False
        self._due = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def send(self, msg: Message) -> None:
        """Take a message for the module (called by the switch)."""
        self._inbox.append(msg)
        if not self._due:
            self._due = True
            self._loop.call_soon(self.drain)

    def drain(self) -> None:
        """Hand over what has arrived."""
        self._due = False
        inbox = self._inbox
        for _ in range(len(inbox)):
            msg = inbox.popleft()
            if self._closed:
                continue
            if self._opened or msg.type == RESPONSE:
                self.receive(msg)
            elif len(self._held) < HELD_LIMIT or msg.type != REQUEST:
                self._held.append(msg)
            elif not msg.flags & FLAG_NORESPONSE:
                text = f"{HELD_LIMIT} messages wait for this module, which has not started yet"
                self._route(msg.respond(text, errnum=errno.ENOBUFS), self)
        if inbox and not self._due:
            self._due = True
            self._loop.call_soon(self.drain)

    def open(self) -> None:
        """The module is ready: hand it what was held, and from now on everything."""
        self._opened = True
        for msg in self._held:
            self.receive(msg)
        self._held.clear()

    def close(self) -> None:
        self._closed = True

    @property
    def queued(self) -> int:
        return len(self._inbox) + len(self._held)

    @property
    def channel(self) -> ModuleChannel:
        """The module's side of this link."""
        return ModuleChannel(self)

    def route(self, msg: Message) -> None:
        """Send a message of the module on its way."""
        if self.counters is not None:
            self.counters.count_tx(msg.type)
        self._route(msg, self)


class ModuleChannel:
    """What a module's handle sends to (`flux.core.aio.Channel`)."""

    def __init__(self, link: ModuleLink) -> None:
        self.send = link.route
        self.close = link.close
