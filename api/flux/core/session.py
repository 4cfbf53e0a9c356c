"""The client's side of RFC 6 without I/O: match tags, response matching, message handlers' queue."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable

from flux.errors import FluxError
from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, RESPONSE, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.rpc import RPC

__all__ = ["Session"]

# a second answer, which only faults of the overlay can bring, is not to meet a new request that has its tag
_RESTING_TAGS = 64


class Session:
    """State of one connection.

    Args:
        send: called with each message to put on the wire.
        deliver: called with each message that is no response to a pending RPC of ours.
    """

    def __init__(self, send: Callable[[Message], None], deliver: Callable[[Message], None]) -> None:
        self.send = send
        self.deliver = deliver
        self._pending: dict[int, RPC] = {}
        self._free: deque[int] = deque()
        self._last_tag = 0
        self.error: FluxError | None = None

    def start_rpc(self, rpc: RPC, msg: Message) -> None:
        """Send a request; its responses go to rpc unless the request is marked noresponse."""
        if self.error is not None:
            raise self.error
        if not msg.flags & FLAG_NORESPONSE:
            tag = self._free.popleft() if len(self._free) > _RESTING_TAGS else self._next_tag()
            msg.matchtag = rpc.matchtag = tag
            self._pending[tag] = rpc
        self.send(msg)

    def _next_tag(self) -> int:
        self._last_tag += 1
        return self._last_tag

    def receive(self, msg: Message) -> None:
        """Take one message from the wire."""
        if msg.type != RESPONSE:
            self.deliver(msg)
            return
        rpc = self._pending.get(msg.matchtag)
        if rpc is None:
            self.deliver(msg)
            return
        if msg.aux or not msg.flags & FLAG_STREAMING:
            del self._pending[msg.matchtag]
            self._free.append(msg.matchtag)
            rpc.matchtag = 0
        rpc.receive(msg)

    def fail(self, error: FluxError) -> None:
        """The connection is gone: every pending RPC gets the error, and so does every later one."""
        self.error = error
        pending, self._pending = self._pending, {}
        for rpc in pending.values():
            rpc.matchtag = 0
            rpc.fulfill(error)

    def stats(self) -> dict[str, int]:
        return {"pending": len(self._pending), "matchtags": self._last_tag}


def lost(reason: str) -> FluxError:
    """The error of a connection that the other side closed."""
    return FluxError(errno.ECONNRESET, reason)
