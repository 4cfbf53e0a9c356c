"""Remote procedure calls (RFC 6, flux_rpc(3)): one response, a stream of them, or none."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Iterator

from flux.errors import FluxError
from flux.future import Future
from flux.message import FLAG_NORESPONSE, FLAG_STREAMING, NODEID_ANY, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from flux.core.base import Handle

    T = TypeVar("T")

__all__ = ["RPC"]

_RPC_NORESPONSE, _RPC_STREAMING = 1, 2
_RPC_FLAGS = _RPC_NORESPONSE | _RPC_STREAMING


def _message_flags(flags: int) -> int:
    """The message flags for flags of flux_rpc(3), which have numbers of their own."""
    noresponse = FLAG_NORESPONSE if flags & _RPC_NORESPONSE else 0
    streaming = FLAG_STREAMING if flags & _RPC_STREAMING else 0
    return (flags & ~_RPC_FLAGS) | noresponse | streaming


class RPC(Future):
    """A request on its way, and its responses.

    Args:
        flux_handle: the handle to send on.
        topic: "SERVICE.METHOD".
        payload: None, str, bytes or an object that JSON can hold.
        nodeid: rank, FLUX_NODEID_ANY or FLUX_NODEID_UPSTREAM.
        flags: FLUX_RPC_NORESPONSE and FLUX_RPC_STREAMING, or the message flags that they stand for.
    """

    def __init__(
        self, flux_handle: Handle, topic: str, payload: Any = None, nodeid: int = NODEID_ANY, flags: int = 0
    ) -> None:
        super().__init__(flux_handle)
        if flags & _RPC_FLAGS:
            flags = _message_flags(flags)
        self.topic = topic
        self.nodeid = nodeid
        self.streaming = bool(flags & FLAG_STREAMING)
        self.matchtag = 0
        flux_handle.send_rpc(self, payload, flags)

    def receive(self, msg: Message) -> None:
        """Take a response (called by the session)."""
        self.fulfill(msg.error if msg.aux else msg)

    def _convert(self, result: Any) -> Any:
        return result.payload

    def _more(self) -> bool:
        return self.streaming and not isinstance(self._results[0], BaseException)

    def message(self) -> Message:
        """The response message itself, blocking until it is there."""
        self.wait_for()
        result = self._results[0]
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Message)
        return result

    def get_str(self) -> str | None:
        """The response payload as a string: for JSON, its text."""
        return self.message().payload_str

    def get_raw(self) -> bytes:
        """The response payload as bytes; b"" when there is none."""
        return self.message().raw or b""

    def get_as(self, type: type[T]) -> T:
        """The response payload as a struct type."""
        return self.message().decode(type)

    def cancel(self, topic: str | None = None) -> None:
        """Ask the service to end this stream.

        Args:
            topic: the service's cancellation method; default "SERVICE.cancel" (RFC 6).
        """
        if self.matchtag:
            assert self._handle is not None
            service = self.topic.rpartition(".")[0]
            self._handle.notify(topic or f"{service}.cancel", {"matchtag": self.matchtag}, self.nodeid)

    def _ended(self, exc: FluxError) -> bool:
        return exc.errno == errno.ENODATA and self.streaming

    def __iter__(self) -> Iterator[Any]:
        """Payloads of a streaming RPC until the end of the stream (ENODATA)."""
        while True:
            try:
                payload = self.get()
            except FluxError as exc:
                if self._ended(exc):
                    return
                raise
            yield payload
            if not self.streaming:
                return
            self.reset()

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for msg in self.messages():
            yield msg.payload

    async def messages(self) -> AsyncIterator[Message]:
        """Response messages of a streaming RPC until the end of the stream, under asyncio."""
        while True:
            await self.wait()
            try:
                msg = self.message()
            except FluxError as exc:
                if self._ended(exc):
                    return
                raise
            yield msg
            if not self.streaming:
                return
            self.reset()
