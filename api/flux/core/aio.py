"""`flux.AsyncFlux`, the asyncio handle of modules and asynchronous programs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, Protocol

from flux.core.base import Handle
from flux.core.connect import open_socket
from flux.core.session import lost
from flux.core.stream import SocketChannel
from flux.errors import FluxError
from flux.message import REQUEST, Message

__all__ = ["AsyncFlux", "Channel"]


class Channel(Protocol):
    """What carries an asyncio handle's messages: a socket, or the switch of the same process."""

    def send(self, msg: Message) -> None: ...

    def close(self) -> None: ...


class AsyncFlux(Handle):
    """A connection driven by the running event loop: RPCs are awaited, streams iterated with `async for`.

    Made with `await AsyncFlux.open(uri)`; modules find theirs in `self.flux`.

    Args:
        channel: where messages go; give incoming ones to `receive`.
        on_message: called with each message that is no response of ours.
    """

    def __init__(self, channel: Channel | None = None, on_message: Callable[[Message], None] | None = None) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.channel = channel
        self.on_message = on_message
        self.receive = self.session.receive

    @classmethod
    async def open(cls, uri: str | None = None, on_message: Callable[[Message], None] | None = None) -> AsyncFlux:
        """Connect to an instance. Same URIs and errors as `flux.Flux`."""
        sock = await asyncio.get_running_loop().run_in_executor(None, open_socket, uri)
        handle = cls(on_message=on_message)
        handle.channel = SocketChannel(sock, handle.receive, handle.session.fail)
        return handle

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
        if self.session.error is None:
            self.session.fail(lost("the handle was closed"))

    def send_message(self, msg: Message) -> None:
        if self.channel is None:
            raise FluxError(errno.ENOTCONN, "the handle is not connected")
        self.channel.send(msg)

    def deliver(self, msg: Message) -> None:
        if self.on_message is not None:
            self.on_message(msg)
        elif msg.type == REQUEST and not msg.topic.endswith(".disconnect"):
            self.respond_error(msg, errno.ENOSYS, f"Unknown service method '{msg.topic}'")

    def wait_until(self, ready: Callable[[], bool], timeout: float = -1.0) -> None:
        if not ready():
            raise FluxError(errno.EDEADLK, "this handle is an asyncio one: await the future instead of calling get()")

    def create_waiter(self) -> asyncio.Future[None]:
        return self.loop.create_future()

    def call_later(self, delay: float, callback: Callable[[], Any]) -> asyncio.TimerHandle:
        return self.loop.call_later(delay, callback)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        self.loop.call_soon(callback)

    def hold(self, future: Any) -> None:
        """Nothing to do: the loop runs anyway."""

    def release(self, future: Any) -> None:
        """Nothing to do: the loop runs anyway."""

    def own_rank(self) -> int:
        try:
            return int(self.attr_cache["rank"])
        except KeyError:
            raise FluxError(errno.EINVAL, "await attr_get('rank') before sending upstream") from None

    async def attr_get(self, attr_name: str) -> str:
        """Value of a broker attribute. FluxError ENOENT when it is not set (flux_attr_get(3))."""
        value = self.attr_cache.get(attr_name)
        if value is None:
            answer = await self.rpc("attr.get", {"name": attr_name})
            value = str(answer["value"])
            if answer["flags"] & 1:
                self.attr_cache[attr_name] = value
        return value

    async def event_subscribe(self, topic: str) -> None:
        """Receive events whose topic starts with topic, through `on_message`."""
        await self.rpc("event.subscribe", {"topic": topic})

    async def event_unsubscribe(self, topic: str) -> None:
        await self.rpc("event.unsubscribe", {"topic": topic})

    async def service_register(self, name: str) -> None:
        """Receive the requests for a service, through `on_message`."""
        await self.rpc("service.add", {"service": name})

    async def service_unregister(self, name: str) -> None:
        await self.rpc("service.remove", {"service": name})
