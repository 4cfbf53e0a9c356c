"""`flux.AsyncFlux`, the asyncio handle of modules and asynchronous programs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, Protocol

from flux.core.base import Handle
from flux.core.connect import open_socket, resolve_uri
from flux.core.reconnect import WAIT_TOPIC, Comeback
from flux.core.session import lost
from flux.core.stream import SocketChannel
from flux.core.tasks import Tasks
from flux.errors import FluxError, as_flux_error
from flux.message import REQUEST, Message

__all__ = ["AsyncFlux", "Channel"]


class Channel(Protocol):
    """What carries an asyncio handle's messages: a socket, or the switch of the same process."""

    def send(self, msg: Message) -> None: ...

    def close(self) -> None: ...


class _Held:
    """Stands in for a channel while there is no connection: keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.send = self.messages.append

    def close(self) -> None:
        self.messages.clear()


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
        self._comeback = Comeback(0)

    @classmethod
    async def open(
        cls,
        uri: str | None = None,
        on_message: Callable[[Message], None] | None = None,
        *,
        reconnect: float = 0,
    ) -> AsyncFlux:
        """Connect to an instance. Same URIs and errors as `flux.Flux`.

        Args:
            reconnect: seconds to try for a new connection when this one is lost; 0 does not try. Pending RPCs fail
                with ECONNRESET; what is sent meanwhile is held until subscriptions and services are there again.
        """
        handle = cls(on_message=on_message)
        handle._comeback.patience = reconnect
        await handle._connect(resolve_uri(uri))
        return handle

    async def _connect(self, uri: str) -> None:
        sock = await self.loop.run_in_executor(None, open_socket, uri)
        self.channel = SocketChannel(sock, self.receive, lambda error: self._lost(uri, error))

    def _lost(self, uri: str, error: FluxError) -> None:
        self.session.fail(error if error.errno == errno.ECONNRESET else lost(f"{uri}: {error}"))
        if self._comeback.patience and not self._comeback.active:
            self._comeback.begin()
            self.attr_cache.clear()
            held = self.channel = _Held()
            self.session.error = None
            tasks = Tasks("flux", lambda _name, exc: self.session.fail(as_flux_error(exc)))
            tasks.spawn(self._come_back(uri, held), "reconnect")

    async def _come_back(self, uri: str, held: _Held) -> None:
        """Connect again, restore what there was, then send what was held. Raises why there is no connection."""
        while self._comeback.patience:
            delay = self._comeback.next_delay()
            try:
                await self._connect(uri)
                await self._restore()
                break
            except FluxError:
                self.channel = held
                if delay is None:
                    raise
            await asyncio.sleep(delay)
        for msg in held.messages:
            self.send_message(msg)

    async def _restore(self) -> None:
        self._comeback.active, self.session.error = True, None
        try:
            for topic, payload in self._comeback.requests():
                try:
                    await self.rpc(topic, payload)
                except FluxError as exc:
                    if topic != WAIT_TOPIC or exc.errno != errno.ENOSYS:
                        raise
        finally:
            self._comeback.active = False

    def close(self) -> None:
        self._comeback.patience = 0
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
        self._comeback.subscriptions[topic] += 1

    async def event_unsubscribe(self, topic: str) -> None:
        self._comeback.subscriptions[topic] -= 1
        await self.rpc("event.unsubscribe", {"topic": topic})

    async def service_register(self, name: str) -> None:
        """Receive the requests for a service, through `on_message`."""
        answer = self.rpc("service.add", {"service": name})
        await answer
        self._comeback.registered(name, answer)

    async def service_unregister(self, name: str) -> None:
        self._comeback.unregistered(name)
        await self.rpc("service.remove", {"service": name})
