"""A client of another rank, as the switch of this one sees it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from flux.message import RESPONSE, USERID_UNKNOWN, Message

__all__ = ["Visitor"]


class Visitor:
    """The link of a client whose requests come by the ring (`flux.hooks.kernel.Link`).

    Args:
        origin: rank of the client. client: its route id there.
        answer: called with this and each response for it.
    """

    # the credential was stamped where the client is connected
    userid = USERID_UNKNOWN
    rolemask = 0
    owner = True

    def __init__(self, origin: int, client: str, answer: Callable[[Visitor, Message], None]) -> None:
        self.uuid = str(uuid4())
        self.origin, self.client = origin, client
        self._answer = answer

    def send(self, msg: Message) -> None:
        if msg.type == RESPONSE:
            self._answer(self, msg)
