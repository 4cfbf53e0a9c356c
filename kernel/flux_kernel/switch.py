"""The message switch: tables of services, subscriptions and links, and the routing rules of RFC 3.

A request pushes the uuid of the link it came in on; a response pops the newest route to find its link.
Nothing is copied or encoded here, and nothing waits.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Container, Sequence

from flux.core.ledger import CallLedger, PendingLedger
from flux.errors import FluxError
from flux.hooks.kernel import Link
from flux.message import (
    EVENT,
    FLAG_NORESPONSE,
    FLAG_PRIVATE,
    FLAG_UPSTREAM,
    NODEID_ANY,
    REQUEST,
    RESPONSE,
    ROLE_OWNER,
    USERID_UNKNOWN,
    Message,
)

__all__ = ["Port", "Switch"]


class Port:
    """A link as the switch holds it: its subscriptions, services and what waits on it."""

    __slots__ = ("calls", "heir", "is_child", "link", "pending", "ranks", "services", "subscriptions")

    def __init__(self, link: Link, ranks: Sequence[int] = (), is_child: bool = False) -> None:
        self.link = link
        self.ranks = ranks
        self.is_child = is_child
        self.heir = ""
        self.services: set[str] = set()
        self.subscriptions: dict[str, int] = {}
        self.pending = PendingLedger()
        self.calls = CallLedger()

    def wants(self, topic: str) -> bool:
        return any(topic.startswith(prefix) for prefix in self.subscriptions)


class Switch:
    """Routes the messages of one broker.

    Args:
        rank, size: of this broker in its instance.
        log: called with (syslog level, text).
    """

    def __init__(self, rank: int, size: int, log: Callable[[int, str], None]) -> None:
        self.rank = rank
        self.size = size
        self.log = log
        self.services: dict[str, Port] = {}
        self.ports: dict[str, Port] = {}
        self.parent: Port | None = None
        self.sequence = 0
        self.on_event: list[Callable[[Message], None]] = []
        self._children: list[Port] = []
        self._by_rank: dict[int, Port] = {}
        self._listeners: dict[str, list[Port]] = {}

    # -- links

    def attach(self, link: Link) -> None:
        """Add the link of a client or module."""
        self.ports[link.uuid] = Port(link)

    def attach_parent(self, link: Link) -> None:
        """Set the link to the upstream broker."""
        self.parent = self.ports[link.uuid] = Port(link)

    def attach_child(self, link: Link, ranks: Sequence[int]) -> None:
        """Add the link to a downstream broker and to all ranks behind it; see `Switchboard.attach_child`."""
        port = self.ports[link.uuid] = Port(link, tuple(ranks), is_child=True)
        for other in self._children:
            if len(other.ranks) > len(port.ranks):
                self._answer_pending(other, errno.EHOSTUNREACH, "its broker has another parent now", set(ranks))
        self._children.append(port)
        self._map_ranks()

    def _map_ranks(self) -> None:
        """A rank is behind the child with the fewest: one that moved up is still listed behind the parent it had."""
        ports = sorted(self._children, key=lambda port: len(port.ranks), reverse=True)
        self._by_rank = {rank: port for port in ports for rank in port.ranks}

    def detach(self, link: Link, errnum: int = errno.EHOSTUNREACH, text: str = "") -> None:
        """Remove a link; see `flux.hooks.kernel.Switchboard.detach`."""
        port = self.ports.pop(link.uuid, None)
        if port is None:
            return
        if port is self.parent:
            self.parent = None
        if port.is_child:
            self._children.remove(port)
            self._map_ranks()
        self._withdraw_port(port)
        for prefix in port.subscriptions:
            self._unlisten(prefix, port)
        self._answer_pending(port, errnum, text)
        for request in port.calls.disconnects():
            self._route_request(request, None)
        for other in self.ports.values():
            other.pending.forget_sender(link.uuid)

    def _answer_pending(self, port: Port, errnum: int, text: str, ranks: Container[int] | None = None) -> None:
        for response in port.pending.drain(ranks):
            self._answer(response, errnum, text)

    # -- services and subscriptions

    def add_service(self, name: str, link: Link) -> None:
        """Send requests for a service to a link. FluxError EINVAL for a bad name, EEXIST when it is taken."""
        if not name or "." in name:
            raise FluxError(errno.EINVAL, f"{name!r} is no service name: it must not be empty or contain a dot")
        holder, port = self.services.get(name), self.ports[link.uuid]
        if holder is not None and holder.heir != link.uuid:
            raise FluxError(errno.EEXIST, f"service {name} is registered already")
        self.services[name] = holder or port  # an heir gets what it claims once it runs
        port.services.add(name)

    def remove_service(self, name: str, link: Link) -> None:
        """Undo `add_service`. FluxError ENOENT when there is none, EINVAL when it belongs to another link."""
        port = self.services.get(name)
        if port is None:
            raise FluxError(errno.ENOENT, f"service {name} is not registered")
        if port.link is not link:
            raise FluxError(errno.EINVAL, f"service {name} was registered by another client")
        del self.services[name]
        port.services.discard(name)

    def withdraw(self, link: Link) -> None:
        """Remove all services of a link that goes on answering what it has."""
        self._withdraw_port(self.ports[link.uuid])

    def _withdraw_port(self, port: Port) -> None:
        for name in port.services:
            if self.services.get(name) is port:
                del self.services[name]
        port.services.clear()

    def has_service(self, name: str) -> bool:
        return name in self.services

    def link_to(self, uuid: str) -> Link | None:
        """The link with that route id; None when it is gone."""
        port = self.ports.get(uuid)
        return None if port is None else port.link

    def pending(self, link: Link) -> int:
        """Number of requests sent over a link that are not answered yet."""
        port = self.ports.get(link.uuid)
        return 0 if port is None else len(port.pending)

    def subscribe(self, prefix: str, link: Link) -> None:
        """Send events whose topic starts with prefix to a link; counted."""
        port = self.ports[link.uuid]
        if prefix not in port.subscriptions:
            self._listeners.setdefault(prefix, []).append(port)
        port.subscriptions[prefix] = port.subscriptions.get(prefix, 0) + 1

    def unsubscribe(self, prefix: str, link: Link) -> None:
        """Undo one `subscribe`. FluxError ENOENT when there is none."""
        port = self.ports[link.uuid]
        count = port.subscriptions.get(prefix, 0)
        if count == 0:
            raise FluxError(errno.ENOENT, f"not subscribed to {prefix!r}")
        if count > 1:
            port.subscriptions[prefix] = count - 1
        else:
            del port.subscriptions[prefix]
            self._unlisten(prefix, port)

    def _unlisten(self, prefix: str, port: Port) -> None:
        ports = self._listeners.get(prefix, [])
        if port in ports:
            ports.remove(port)
        if not ports:
            self._listeners.pop(prefix, None)

    def listen_for(self, port: Port, other: Port) -> None:
        """Deliver to one port the events that another is subscribed to."""
        for prefix in other.subscriptions:
            ports = self._listeners.setdefault(prefix, [])
            ports[:] = [*(each for each in ports if each is not other), port]
        port.subscriptions = dict(other.subscriptions)

    # -- messages

    def receive(self, msg: Message, link: Link) -> None:
        """Route a message that came in on a link."""
        if msg.userid == USERID_UNKNOWN or not link.owner:
            msg.userid = link.userid
        if msg.rolemask == 0 or not link.owner:
            msg.rolemask = link.rolemask
        if msg.type == RESPONSE:
            self._receive_response(msg, link)
        elif msg.type == REQUEST:
            self._receive_request(msg, link)
        elif msg.type == EVENT:
            self._receive_event(msg, link)

    def _receive_request(self, msg: Message, link: Link) -> None:
        port = self.ports.get(link.uuid)
        if port is None:
            return
        routes = msg.routes
        if routes is None:
            routes = msg.routes = []
        routes.append(link.uuid)
        if not port.is_child and port is not self.parent:
            port.calls.sent(msg)
        self._route_request(msg, port)

    def _route_request(self, msg: Message, source: Port | None) -> None:
        nodeid = msg.aux
        if nodeid == NODEID_ANY or (nodeid == self.rank and not msg.flags & FLAG_UPSTREAM):
            target = self.services.get(msg.topic.partition(".")[0])
            if target is None and nodeid == NODEID_ANY:
                target = self.parent
        elif msg.flags & FLAG_UPSTREAM:
            target = self._upstream_target(msg)
            if target is None and nodeid == self.rank:
                self._refuse(msg, errno.EHOSTUNREACH, "rank 0 has no upstream")
                return
        else:
            target = self._by_rank.get(nodeid, self.parent if nodeid < self.size else None)
            if target is None or target is source:
                self._refuse(msg, errno.EHOSTUNREACH, "")
                return
        if target is None or (target is source and target is self.parent):
            self._refuse(msg, errno.ENOSYS, f"No service matching {msg.topic} is registered")
            return
        target.pending.sent(msg)
        target.link.send(msg)

    def route_held(self, msg: Message) -> None:
        """Route a request that was kept on its way to a service."""
        self._route_request(msg, None)

    def _upstream_target(self, msg: Message) -> Port | None:
        if msg.aux == self.rank:
            return self.parent
        return self.services.get(msg.topic.partition(".")[0]) or self.parent

    def _refuse(self, msg: Message, errnum: int, text: str) -> None:
        if not msg.flags & FLAG_NORESPONSE:
            self._answer(msg.respond(), errnum, text)

    def _answer(self, response: Message, errnum: int, text: str) -> None:
        error = Message(
            RESPONSE,
            response.topic,
            text or None,
            flags=response.flags,
            userid=USERID_UNKNOWN,
            rolemask=ROLE_OWNER,
            aux=errnum,
            matchtag=response.matchtag,
            routes=response.routes,
        )
        self._route_response(error)

    def _receive_response(self, msg: Message, link: Link) -> None:
        port = self.ports.get(link.uuid)
        if port is not None and not port.pending.answered(msg) and (port.is_child or port is self.parent):
            return  # answered for it already
        self._route_response(msg)

    def _route_response(self, msg: Message) -> None:
        if not msg.routes:
            return
        port = self.ports.get(msg.routes.pop())
        if port is not None:
            port.link.send(msg)

    # -- events

    def publish(self, msg: Message) -> int:
        """Sequence and deliver an event; only on rank 0. Gives its sequence number."""
        self.sequence += 1
        msg.aux = self.sequence
        self._deliver_event(msg)
        return self.sequence

    def _receive_event(self, msg: Message, link: Link) -> None:
        if self.parent is not None and link is self.parent.link:
            if msg.aux <= self.sequence:
                return  # a parent that lags behind the one before
            if msg.aux != self.sequence + 1 and self.sequence:
                self.log(3, f"lost events {self.sequence + 1} to {msg.aux - 1}")
            self.sequence = msg.aux
            self._deliver_event(msg)
        elif self.rank == 0:
            self.publish(msg)
        elif self.parent is not None:
            self.parent.link.send(msg)

    def _deliver_event(self, msg: Message) -> None:
        for child in self._children:
            child.link.send(msg)
        targets: dict[Port, None] = {}
        for prefix, ports in self._listeners.items():
            if msg.topic.startswith(prefix):
                targets.update(dict.fromkeys(ports))
        for port in targets:
            link = port.link
            if link.owner or not msg.flags & FLAG_PRIVATE or link.userid == msg.userid:
                link.send(msg)
        for watch in self.on_event:
            watch(msg)

    def stats(self) -> dict[str, int]:
        return {
            "links": len(self.ports),
            "services": len(self.services),
            "pending": sum(len(port.pending) for port in self.ports.values()),
            "events": self.sequence,
        }
