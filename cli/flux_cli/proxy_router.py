"""The router of `flux proxy`: many local clients over one connection to a broker (RFC 3; protocol of local://).

It does what a broker's own local connector does, with the broker as its only other end: requests go up with the
client's id on their route, responses come back by it, subscriptions and services are kept by client.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from flux.core.ledger import PendingLedger
from flux.core.stream import SocketChannel
from flux.errors import FluxError, ProtocolError
from flux.message import EVENT, FLAG_NORESPONSE, FLAG_UPSTREAM, NODEID_ANY, REQUEST, RESPONSE, Message
from flux_cli.local_socket import admit
from flux_cli.proxy_upstream import ProxyUpstream

__all__ = ["ProxyRouter"]

_BACKLOG = 64
_CLIENT_LIMIT = 1 << 20
"""Bytes queued for a client above which the broker is asked to send it no more for now."""


class _Client:
    """A connection to the proxy: what it has subscribed to, called, and serves."""

    def __init__(self, router: ProxyRouter, sock: socket.socket) -> None:
        self.uuid = str(uuid4())
        self.subscriptions: dict[str, int] = {}
        self.services: set[str] = set()
        self.calls: dict[tuple[str, int, int], Message] = {}
        self.asked: dict[int, tuple[str, str]] = {}
        self.channel = SocketChannel(sock, lambda msg: router.from_client(self, msg), lambda _e: router.lost(self))
        self._hold = partial(router.hold, self)
        self._held = False

    def send(self, msg: Message) -> None:
        """Send a message; while the client does not take what it is sent, the broker is asked to wait."""
        self.channel.send(msg)
        if not self._held and self.channel.queued > _CLIENT_LIMIT:
            self._held = True
            self._hold(True)
            self.channel.when_drained(self._release)

    def _release(self) -> None:
        self._held = False
        self._hold(False)

    def wants(self, topic: str) -> bool:
        return any(topic.startswith(prefix) for prefix in self.subscriptions)

    def called(self, msg: Message) -> None:
        """Remember which service is to be told when the client is gone (RFC 6, disconnect)."""
        service = msg.topic.rpartition(".")[0]
        key = (service, msg.aux, msg.flags & FLAG_UPSTREAM)
        if key not in self.calls and not msg.flags & FLAG_NORESPONSE:
            flags = FLAG_NORESPONSE | key[2]
            topic = f"{service}.disconnect" if service else "disconnect"
            self.calls[key] = Message(REQUEST, topic, flags=flags, aux=msg.aux, routes=[self.uuid])


class ProxyRouter:
    """Serves clients at a path with one welcomed connection to a broker.

    Args:
        reconnect: URI at which to connect again when the connection is lost; None not to. Requests that are not
            answered by then end with ECONNRESET, subscriptions and services are asked for again.
        on_lost: called with the error when the broker's connection ends.
        say: takes a line for the user.
    """

    def __init__(
        self,
        upstream: socket.socket,
        path: str,
        reconnect: str | None,
        on_lost: Callable[[FluxError], None],
        say: Callable[[str], None],
    ) -> None:
        self._on_lost = on_lost
        self._pending = PendingLedger()
        self._upstream = ProxyUpstream(
            upstream, reconnect, self._from_upstream, self._upstream_lost, self._restore, say
        )
        self._clients: dict[str, _Client] = {}
        self._services: dict[str, _Client] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(path)
        self._listener.listen(_BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for client in list(self._clients.values()):
            client.channel.close()
        self._upstream.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        if admit(sock):
            client = _Client(self, sock)
            self._clients[client.uuid] = client

    def lost(self, client: _Client) -> None:
        """A client went away."""
        del self._clients[client.uuid]
        self._pending.forget_sender(client.uuid)
        for request in client.calls.values():
            self._upstream.send(request)
        for name in client.services:
            del self._services[name]
            self._ask("service.remove", {"service": name})
        for prefix in client.subscriptions:
            if not self._subscribed(prefix):
                self._ask("event.unsubscribe", {"topic": prefix})

    def hold(self, client: _Client, is_held: bool) -> None:
        """Have the broker wait before it sends more to a client, or go on."""
        self._ask("local.hold", {"client": client.uuid, "hold": is_held})

    def _ask(self, topic: str, payload: dict[str, Any]) -> None:
        self._upstream.send(_own_request(topic, payload))

    def _upstream_lost(self, error: FluxError) -> None:
        """Nobody answers any more what has not been answered."""
        for response in self._pending.drain():
            response.aux = errno.ECONNRESET
            self._to_client(response)
        self._on_lost(error)

    def _restore(self) -> list[Message]:
        topics = {prefix for client in self._clients.values() for prefix in client.subscriptions}
        return [
            *(_own_request("event.subscribe", {"topic": topic}) for topic in sorted(topics)),
            *(_own_request("service.add", {"service": name}) for name in self._services),
        ]

    def _subscribed(self, prefix: str) -> bool:
        return any(prefix in client.subscriptions for client in self._clients.values())

    # -- from clients

    def from_client(self, client: _Client, msg: Message) -> None:
        """Route what a client sends."""
        if msg.type != REQUEST:
            self._upstream.send(msg)
            return
        if msg.topic in ("event.subscribe", "event.unsubscribe"):
            prefix = _text(msg, "topic")
            if prefix is not None and not self._subscription(client, msg, prefix):
                return
        if msg.topic in ("service.add", "service.remove"):
            client.asked[msg.matchtag] = (msg.topic, _text(msg, "service") or "")
        client.called(msg)
        msg.routes = [*(msg.routes or ()), client.uuid]
        self._pending.sent(msg)
        self._upstream.send(msg)

    def _subscription(self, client: _Client, msg: Message, prefix: str) -> bool:
        """Count a subscription or its end; True when the broker must hear of it."""
        count = client.subscriptions.get(prefix, 0)
        first = not self._subscribed(prefix)
        if msg.topic == "event.subscribe":
            client.subscriptions[prefix] = count + 1
            asked = first
        elif count == 0:
            client.send(msg.respond(f"not subscribed to {prefix!r}", errnum=errno.ENOENT))
            return False
        else:
            client.subscriptions[prefix] = count - 1
            if count == 1:
                del client.subscriptions[prefix]
            asked = not self._subscribed(prefix)
        if not asked:
            client.send(msg.respond())
        return asked

    # -- from the broker

    def _from_upstream(self, msg: Message) -> None:
        if msg.type == RESPONSE:
            self._pending.answered(msg)
            self._to_client(msg)
        elif msg.type == EVENT:
            for client in self._clients.values():
                if client.wants(msg.topic):
                    client.send(msg)
        elif msg.type == REQUEST:
            client = self._services.get(msg.topic.partition(".")[0])
            if client is not None:
                client.send(msg)
            elif not msg.flags & FLAG_NORESPONSE:
                self._upstream.send(msg.respond("the client that served this has left", errnum=errno.ENOSYS))

    def _to_client(self, response: Message) -> None:
        client = self._clients.get(response.routes.pop()) if response.routes else None
        if client is not None:
            self._service_answer(client, response)
            client.send(response)

    def _service_answer(self, client: _Client, msg: Message) -> None:
        if msg.topic not in ("service.add", "service.remove"):
            return
        topic, name = client.asked.pop(msg.matchtag, ("", ""))
        if msg.aux or not name:
            return
        if topic == "service.add":
            self._services[name] = client
            client.services.add(name)
        else:
            self._services.pop(name, None)
            client.services.discard(name)


def _own_request(topic: str, payload: dict[str, Any]) -> Message:
    return Message(REQUEST, topic, payload, flags=FLAG_NORESPONSE, aux=NODEID_ANY, routes=[])


def _text(msg: Message, key: str) -> str | None:
    """A string of a client's payload; None when there is none, which the broker will say to the client."""
    try:
        value = msg.payload[key]
    except (ProtocolError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None
