"""The one connection of `flux proxy` to a broker, made anew when it is lost and that is wanted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from flux.core.connect import open_socket
from flux.core.reconnect import WAIT_TOPIC
from flux.core.stream import SocketChannel
from flux.core.tasks import Tasks
from flux.errors import FluxError
from flux.message import NODEID_ANY, REQUEST, RESPONSE, Message

__all__ = ["ProxyUpstream"]

INTERVAL = 2.0
"""Seconds between two attempts to connect again."""


class ProxyUpstream:
    """Sends to the broker; what is sent while there is no connection is held.

    Args:
        sock: a welcomed connection. uri: where to make the next; None for no other.
        receive: called with each message from the broker.
        on_lost: called with the error when the connection ends.
        restore: gives the requests that make a new connection what the last one was.
        say: takes a line for the user.
    """

    def __init__(
        self,
        sock: socket.socket,
        uri: str | None,
        receive: Callable[[Message], None],
        on_lost: Callable[[FluxError], None],
        restore: Callable[[], list[Message]],
        say: Callable[[str], None],
    ) -> None:
        self._uri = uri
        self._receive = receive
        self._on_lost = on_lost
        self._restore = restore
        self._say = say
        self._runs = asyncio.Event()
        self._held: list[Message] = []
        self._connected = True
        self._tasks = Tasks("proxy", lambda _name, exc: say(f"reconnecting failed: {exc}"))
        self._channel = SocketChannel(sock, receive, self._lost)

    def send(self, msg: Message) -> None:
        if self._connected:
            self._channel.send(msg)
        elif self._uri is not None:
            self._held.append(msg)

    def close(self) -> None:
        self._uri = None
        self._channel.close()

    def _lost(self, error: FluxError) -> None:
        was_connected, self._connected = self._connected, False
        if was_connected:
            self._on_lost(error)
            if self._uri is not None:
                self._tasks.spawn(self._come_back(self._uri), "reconnect")
        self._runs.set()

    async def _come_back(self, uri: str) -> None:
        loop = asyncio.get_running_loop()
        while self._uri is not None and not self._connected:
            await asyncio.sleep(INTERVAL)
            try:
                sock = await loop.run_in_executor(None, open_socket, uri)
            except OSError:
                continue  # not yet
            self._channel = SocketChannel(sock, self._take, self._lost)
            await self._wait_until_it_runs()
        if self._connected:
            self._say(f"{uri}: connected again")

    async def _wait_until_it_runs(self) -> None:
        self._runs.clear()
        self._channel.send(Message(REQUEST, WAIT_TOPIC, aux=NODEID_ANY, matchtag=1, routes=[]))
        await self._runs.wait()
        self._connected = not self._channel.closed
        if self._connected:
            held, self._held = self._held, []
            for msg in [*self._restore(), *held]:
                self._channel.send(msg)

    def _take(self, msg: Message) -> None:
        if msg.type == RESPONSE and not msg.routes:
            self._runs.set()
        else:
            self._receive(msg)
