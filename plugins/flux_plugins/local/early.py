"""What clients may ask of a broker that has not joined its instance yet (before state init)."""

from __future__ import annotations

import errno

from flux.core.aio import AsyncFlux
from flux.core.stream import SocketLink
from flux.errors import FluxError
from flux.hooks.kernel import Broker
from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, REQUEST, Message

__all__ = ["Entrance"]

_EARLY = frozenset(
    ("state-machine.get", "state-machine.wait", "attr.get", "log.dmesg", "event.subscribe", "event.unsubscribe")
)
"""How far the broker is, what it is, why it does not get on; and what is no service's business."""
_WAIT = "state-machine.wait"
_MAX_HELD = 1024
_INIT = 3
_REFUSAL = "Upstream Flux broker is offline. Try again later."


class Entrance:
    """Where messages of clients go: `deliver` is the switch's once the broker is in state init."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open = False
        self._held: list[tuple[Message, SocketLink]] = []
        self.deliver = self._receive

    def _receive(self, msg: Message, link: SocketLink) -> None:
        if self._open or msg.type != REQUEST or msg.flags & FLAG_NORESPONSE or self._is_early(msg.topic):
            self._broker.switch.receive(msg, link)
        elif msg.topic == _WAIT and len(self._held) < _MAX_HELD:
            self._held.append((msg, link))
        else:
            link.send(msg.respond(_REFUSAL, errnum=errno.EAGAIN))

    def _is_early(self, topic: str) -> bool:
        return topic in _EARLY and self._broker.switch.has_service(topic.partition(".")[0])

    async def open(self, flux: AsyncFlux, rank: int) -> None:
        """Wait for state init, or for the broker's start where there is no life cycle; then let everything pass."""
        await self._broker.booted.wait()
        held, self._held = self._held, []
        for msg, link in held:
            self._broker.switch.receive(msg, link)
        try:
            async for _state in flux.rpc("state-machine.monitor", {"final": _INIT}, rank, FLAG_STREAMING):
                continue
        except FluxError as exc:
            if exc.errno != errno.ENOSYS:
                raise
        self._open = True
        self.deliver = self._broker.switch.receive
