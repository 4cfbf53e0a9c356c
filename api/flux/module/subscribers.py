"""Open streams of a service that sends the same thing to many, without a task for each."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flux.message import Message

if TYPE_CHECKING:
    from flux.module.base import Module

__all__ = ["Subscribers"]


class Subscribers:
    """Streaming requests that are answered by `publish`; disconnect and cancel end them.

    Args:
        module: the service that answers.
        on_drop: called with each request that is dropped.
    """

    def __init__(self, module: Module, on_drop: Callable[[Message], None] | None = None) -> None:
        self._module = module
        self._on_drop = on_drop
        self._requests: dict[tuple[str, int], Message] = {}
        module.runner.subscribers.append(self)

    def add(self, msg: Message) -> None:
        self._requests[msg.sender, msg.matchtag] = msg

    def publish(self, payload: Any) -> None:
        """Send a response to each."""
        for msg in self._requests.values():
            self._module.flux.respond(msg, payload)

    def end(self, errnum: int = errno.ENODATA, text: str = "") -> None:
        """End all streams with an error response."""
        requests, self._requests = self._requests, {}
        for msg in requests.values():
            self._module.flux.respond_error(msg, errnum, text)

    def discard(self, msg: Message) -> bool:
        """Forget one request without answering it; True when it was there."""
        return self._requests.pop((msg.sender, msg.matchtag), None) is not None

    def cancel(self, sender: str, matchtag: int) -> None:
        """End one stream of a client (RFC 6 cancellation), with ENODATA as stock services do."""
        msg = self._requests.pop((sender, matchtag), None)
        if msg is not None:
            self._module.flux.respond_error(msg, errno.ENODATA)
            self._dropped(msg)

    def drop_sender(self, sender: str) -> None:
        """Forget what a client that went away had asked for."""
        for key in [key for key in self._requests if key[0] == sender]:
            self._dropped(self._requests.pop(key))

    def _dropped(self, msg: Message) -> None:
        if self._on_drop is not None:
            self._on_drop(msg)

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._requests.values()))

    def __len__(self) -> int:
        return len(self._requests)
