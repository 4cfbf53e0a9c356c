"""Coming back after the connection to a broker broke (flux_open(3), flux_reconnect): what has to be asked for again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from flux.future import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["WAIT_TOPIC", "Comeback"]

WAIT_TOPIC = "state-machine.wait"
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 2.0


class Comeback:
    """What a connection has asked of its broker, and how long to try for a new one.

    Args:
        patience: seconds to try before the handle gives up; 0 for a handle that does not reconnect.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.active = False  # while the new connection is being made as the old one was
        self.count = 0
        """How often a connection took the place of a lost one."""
        self.subscriptions: Counter[str] = Counter()
        self._services: dict[str, Future] = {}
        self._deadline = 0.0
        self._delay = _FIRST_DELAY

    def registered(self, name: str, answer: Future) -> None:
        """A service was asked for; it counts unless it was refused."""
        self._services[name] = answer

    def unregistered(self, name: str) -> None:
        self._services.pop(name, None)

    def requests(self) -> Iterator[tuple[str, dict[str, Any] | None]]:
        """What to ask a new connection for, in order: topic and payload."""
        yield WAIT_TOPIC, None
        for topic in self.subscriptions.elements():
            yield "event.subscribe", {"topic": topic}
        for name, answer in list(self._services.items()):
            if answer.is_ready() and answer.error_string() is None:
                yield "service.add", {"service": name}

    def begin(self) -> None:
        """The connection is gone: the time to find another runs."""
        self._deadline = time.monotonic() + self.patience
        self._delay = _FIRST_DELAY

    def next_delay(self) -> float | None:
        """Seconds until the next attempt; None when it is time to give up, or while one is being made."""
        if self.active or time.monotonic() + self._delay > self._deadline:
            return None
        delay, self._delay = self._delay, min(self._delay * 2, _LONGEST_DELAY)
        return delay
