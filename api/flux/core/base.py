"""What a blocking and an asyncio handle have in common: building and sending messages."""

from __future__ import annotations

import errno
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from flux.core.session import Session
from flux.errors import FluxError
from flux.message import (
    EVENT,
    FLAG_NORESPONSE,
    FLAG_PRIVATE,
    FLAG_UPSTREAM,
    NODEID_ANY,
    NODEID_UPSTREAM,
    REQUEST,
    Message,
)
from flux.rpc import RPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Handle", "log_entry"]


class Handle(ABC):
    """Base of `flux.Flux` (blocking) and `flux.AsyncFlux`; not made directly."""

    def __init__(self) -> None:
        self.session = Session(self.send_message, self.deliver)
        self.attr_cache: dict[str, str] = {}
        self._barriers = 0
        self.log_topic = ""
        self.log_name = os.path.basename(sys.argv[0] if sys.argv and sys.argv[0] else "python")

    # -- what a driver provides

    @abstractmethod
    def send_message(self, msg: Message) -> None:
        """Put one message on the wire."""

    @abstractmethod
    def deliver(self, msg: Message) -> None:
        """Take a message that is no response of ours."""

    @abstractmethod
    def wait_until(self, ready: Callable[[], bool], timeout: float = -1.0) -> None:
        """Receive until ready() is true. FluxError ETIMEDOUT after timeout seconds (negative: never)."""

    @abstractmethod
    def call_later(self, delay: float, callback: Callable[[], Any]) -> Any:
        """Run callback after delay seconds; the result has `cancel()`."""

    @abstractmethod
    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Run callback in the next turn of the loop."""

    @abstractmethod
    def hold(self, future: Any) -> None:
        """Keep the reactor running for a future with a callback."""

    @abstractmethod
    def release(self, future: Any) -> None:
        """End of `hold`."""

    def create_waiter(self) -> Any:
        raise FluxError(errno.EDEADLK, "this handle is a blocking one: call get() instead of await")

    def get_reactor(self) -> Any:
        return None

    # -- messages

    def rpc(self, topic: str, payload: Any = None, nodeid: int = NODEID_ANY, flags: int = 0) -> RPC:
        """Send a request. See `flux.rpc.RPC` for the arguments and the future that comes back."""
        return RPC(self, topic, payload, nodeid, flags)

    def send_rpc(self, rpc: RPC, payload: Any, flags: int) -> None:
        """Build and send the request of an RPC (called by it)."""
        nodeid = rpc.nodeid
        if nodeid == NODEID_UPSTREAM:
            flags |= FLAG_UPSTREAM
            nodeid = self.own_rank()
        self.session.start_rpc(rpc, Message(REQUEST, rpc.topic, payload, flags=flags, aux=nodeid, routes=[]))

    def notify(self, topic: str, payload: Any = None, nodeid: int = NODEID_ANY) -> None:
        """Send a request that gets no response."""
        RPC(self, topic, payload, nodeid, FLAG_NORESPONSE)

    @abstractmethod
    def own_rank(self) -> int:
        """Rank of the broker this handle is connected to, for requests to FLUX_NODEID_UPSTREAM."""

    def respond(self, message: Message, payload: Any = None) -> None:
        """Answer a request; nothing is sent when it wants no response."""
        if not message.flags & FLAG_NORESPONSE:
            self.send_message(message.respond(payload))

    def respond_error(self, message: Message, errnum: int, text: str = "") -> None:
        """Answer a request with an error (RFC 6): errno and a line for a person."""
        if not message.flags & FLAG_NORESPONSE:
            self.send_message(message.respond(text or None, errnum=errnum))

    def event_send(self, topic: str, payload: Any = None, private: bool = False) -> None:
        """Publish an event without waiting for its sequence number.

        Args:
            private: deliver only to the instance owner and to the sender (RFC 12).
        """
        self.send_message(Message(EVENT, topic, payload, flags=FLAG_PRIVATE if private else 0))

    def barrier(self, name: str | None, nprocs: int) -> RPC:
        """Wait for others: the future is ready once nprocs clients have entered the barrier of that name.

        Args:
            name: any word; within a job None makes one of the job's id and how often it was asked for.

        Raises:
            FluxError: EINVAL without a name outside of a job; the future's `get` raises EINVAL when nprocs differs
                from what others said, EEXIST when this handle is in that barrier already, ECANCELED when another
                client in it went away, or its broker was lost.
        """
        if name is None:
            job = os.environ.get("FLUX_JOB_ID")
            if not job:
                raise FluxError(errno.EINVAL, "a barrier needs a name: outside of a job none can be made up")
            name = f"{job}.{self._barriers}"
            self._barriers += 1
        return self.rpc("barrier.enter", {"name": name, "nprocs": nprocs})

    @staticmethod
    def event_create(topic: str, payload: Any = None) -> Message:
        return Message.from_event_encode(topic, payload)

    def log(self, level: int, fstring: str) -> None:
        """Append to the instance's log (flux_log(3)).

        Args:
            level: syslog level, 0 (emergency) to 7 (debug).
        """
        rank = self.attr_cache.get("rank", "0")
        for line in fstring.splitlines() or [""]:
            entry = log_entry(level, rank, self.log_name, line)
            self.send_message(Message(REQUEST, "log.append", entry, flags=FLAG_NORESPONSE, aux=NODEID_ANY, routes=[]))


def log_entry(level: int, rank: int | str, appname: str, line: str) -> bytes:
    """One line as `log.append` takes it: RFC 5424 in the shape stock Flux gives it, with the time now."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
    return f"<{level << 3}>1 {stamp} {rank} {appname} {os.getpid()} - - {line}".encode()
