"""The overlay network of an instance: joins this broker to its parent and its children, and answers through `service`.

Start: listen, exchange business cards through the bootstrap method, let the keys of all ranks below in, connect to
the parent and say hello. An instance of one broker does none of that. When the parent is lost, one of the ranks above
it becomes the parent (`rejoin`); a broker that has lost a child gives those behind it the time to come by themselves.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from functools import partial
from typing import Any
from uuid import uuid4

import zmq

from flux.errors import FluxError
from flux.idset import IDset
from flux.message import Message
from flux.taskmap import TaskMap
from flux.taskmap import decode as decode_taskmap
from flux_plugins.overlay.card import Card, gather_hosts, read_card
from flux_plugins.overlay.downstream import Downstream
from flux_plugins.overlay.family import Family
from flux_plugins.overlay.hello import NEWCOMER, HelloRequest, HelloResponse, check_hello, pack_version
from flux_plugins.overlay.peers import Peer, Peers, Status
from flux_plugins.overlay.rejoin import Rejoin, ancestors
from flux_plugins.overlay.service import GOODBYE_TIMEOUT, OverlayService
from flux_plugins.overlay.settings import Settings, check_ranks, duration
from flux_plugins.overlay.topology import DEFAULT_SHAPE, Topology
from flux_plugins.overlay.upstream import ParentLink, Upstream
from flux_plugins.zeromq.address import (
    choose_endpoint,
    ipc_endpoint,
    listen_address,
    tcp_endpoint,
    transports,
)
from flux_plugins.zeromq.sockets import LINGER_MS
from flux_plugins.zeromq.zap import ZapHandler

__all__ = ["Overlay"]

MOVED = "overlay.moved"
_MIN_TICK = 0.01
_ORPHAN_GRACE = 2.0  # seconds that an orphan gets to notice that it is one, on top of tbon.reparent-timeout


class Overlay(OverlayService):
    """The tree of brokers over ZeroMQ."""

    name = "overlay"

    def __init__(self) -> None:
        super().__init__()
        self.host = self.broker.attrs.get("hostname") or socket.gethostname()
        self._hostlist = ""
        self._cards: dict[int, Card] = {}
        self._keys = (b"", b"")
        self._child_hosts: dict[int, str] = {}
        self._reported: Status | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._zap: ZapHandler | None = None
        self._tick: asyncio.TimerHandle | None = None

    # -- life cycle

    async def start(self) -> None:
        attrs, boot = self.broker.attrs, self.broker.boot
        self.settings = Settings.read(attrs, self.conf, DEFAULT_SHAPE if boot.parents is None else "custom")
        self.topology = Topology.from_shape(self.settings.shape, self.broker.size, boot.parents)
        self.peers = Peers(self.topology.children(self.broker.rank), self._loop.time())
        self.family = Family(self.broker.rank, self.topology, self.peers)
        self._version = pack_version(attrs["version"])
        self._set_tree_attributes()
        if self.broker.size == 1:
            self._set_hostlist(self.host)
            return
        try:
            await self._join()
        except BaseException:
            self._close()
            raise
        self._watch_silence()

    def _set_tree_attributes(self) -> None:
        rank, tree = self.broker.rank, self.topology
        name, _, argument = tree.shape.partition(":")
        inner = [r for r in range(tree.size) if r == 0 or tree.children(r)]
        values = {
            "hostname": self.host,
            "tbon.topo": tree.shape,
            "tbon.level": str(tree.level(rank)),
            "tbon.maxlevel": str(tree.maxlevel),
            "tbon.descendants": str(tree.descendants(rank)),
        }
        if name == "kary":
            values["tbon.fanout"] = argument
        for key, value in values.items():
            self.broker.attrs.set(key, value, immutable=True)
        critical = self.broker.attrs.get("broker.critical-ranks")
        if critical is None:
            self.broker.attrs.set("broker.critical-ranks", str(IDset(inner)), immutable=True)
        else:
            check_ranks("broker.critical-ranks", critical, self.broker.size)

    def _set_hostlist(self, hosts: str) -> None:
        self._hostlist = hosts
        if hosts:
            self.broker.attrs.set("hostlist", hosts, immutable=True)

    async def _join(self) -> None:
        boot, rank = self.broker.boot, self.broker.rank
        context = self._context = zmq.Context(io_threads=self.settings.io_threads)
        public, secret = boot.certificate or (key.decode() for key in zmq.curve_keypair())
        self._keys = (public.encode(), secret.encode())
        mapping = self._mapping()
        uris = self._listen(context, secret.encode(), mapping)
        boot.publish({"host": self.host, "pubkey": public, "uri": uris})
        boot.barrier()
        self._admit_children()
        self._cards = {r: read_card(boot.lookup, r) for r in self._possible_parents()}
        if rank == 0:
            self._set_hostlist(gather_hosts(self.broker.size, mapping, self._host_of))
        boot.finalize()
        parent = self.topology.parent(rank)
        if parent is not None:
            answer = await self._join_parent(parent, None, None if boot.static else self.settings.connect_timeout)
            self._set_hostlist(answer.hostlist)
            self.broker.switch.sequence = answer.sequence
        if self._down is not None:
            self.spawn(self._open(self._down), "open")

    async def _open(self, down: Downstream) -> None:
        """Let the children in as soon as every service that they may ask for is there."""
        await self.broker.booted.wait()
        down.open()

    def _mapping(self) -> TaskMap | None:
        text = self.broker.attrs.get("broker.mapping")
        if not text:
            return None
        try:
            mapping = decode_taskmap(text)
        except ValueError as exc:
            raise FluxError(errno.EINVAL, f"broker.mapping={text}: {exc}") from None
        return mapping if mapping.ntasks() == self.broker.size else None

    def _host_of(self, rank: int) -> str:
        return self.host if rank == self.broker.rank else read_card(self.broker.boot.lookup, rank).host

    # -- listening

    def _listen(self, context: zmq.Context[zmq.Socket[bytes]], secret: bytes, mapping: TaskMap | None) -> list[str]:
        """Open the children's end and bind it; gives the endpoints for the business card."""
        endpoints = self._endpoints(mapping)
        if not endpoints:
            return []
        self._zap = ZapHandler(context, self.report, lambda exc: self.report("authentication failed", exc))
        down = self._down = Downstream(context, secret, self.broker.uuid, self.broker.switch, self.peers, self)
        down.set_tcp_timeout(int(self.settings.tcp_user_timeout * 1000))
        if self.settings.reparent_timeout:
            down.keep_events(self.settings.event_backlog)
        down.set_ipv6(self.broker.boot.ipv6)
        uris = [down.bind(endpoint) for endpoint in endpoints]
        self.broker.attrs.set("tbon.endpoint", uris[0], immutable=True)
        return uris

    def _endpoints(self, mapping: TaskMap | None) -> list[str]:
        rank, children = self.broker.rank, self._possible_children()
        given = self.broker.boot.endpoint() if children else None
        if given is not None:
            return [given]
        near = [r for r in children if mapping and mapping.nodeid(r) == mapping.nodeid(rank)]
        ipc = ipc_endpoint(self.broker.attrs["rundir"], rank)
        prefer_tcp = self.settings.prefer_tcp or ipc is None
        wanted = transports(len(near), len(children), mapping is not None, prefer_tcp)
        endpoints = [tcp_endpoint(listen_address(self.settings.interface_hint))] if "tcp" in wanted else []
        return [*endpoints, ipc] if "ipc" in wanted and ipc else endpoints

    def _possible_children(self) -> list[int]:
        """The children, and every rank that may come to be one."""
        if not self.settings.reparent_timeout:
            return list(self.peers.by_rank)
        return [rank for rank in self.topology.subtree(self.broker.rank) if rank != self.broker.rank]

    def _possible_parents(self) -> list[int]:
        """The parent, and when it may be replaced those above it."""
        return ancestors(self.topology, self.broker.rank)[: None if self.settings.reparent_timeout else 1]

    def _admit_children(self) -> None:
        if self._zap is None:
            return
        for rank in self._possible_children():
            card = read_card(self.broker.boot.lookup, rank)
            self._child_hosts[rank] = card.host
            try:
                self._zap.allow(card.pubkey, None if self.broker.boot.certificate else rank)
            except ValueError as exc:
                raise FluxError(errno.EPROTO, f"business card of rank {rank}: {exc}") from None

    # -- joining

    async def _join_parent(self, rank: int, waiting: ParentLink | None, timeout: float | None) -> HelloResponse:
        """Connect to the broker of a rank and say hello.

        Args:
            waiting: the link that holds messages meanwhile, when there was a parent before.
        """
        card = self._cards[rank]
        endpoint = choose_endpoint(card.uri, card.host == self.host or self.broker.boot.static)
        uuid = self.broker.uuid if waiting is None else str(uuid4())
        assert self._context is not None
        up = self._up = Upstream(self._context, uuid, self._keys, card.pubkey, self.broker.switch, self, rank, waiting)
        up.set_tcp_timeouts(int(self.settings.tcp_user_timeout * 1000), int(self.settings.connect_timeout * 1000))
        up.set_ipv6(self.broker.boot.ipv6)
        up.tap = self._trace.current_tap
        status = self._reported = self.peers.status
        sequence = NEWCOMER if waiting is None else self.broker.switch.sequence
        hello = HelloRequest(self.broker.rank, self._version, uuid, status, self.host, sequence)
        try:
            answer = await up.join(endpoint, hello, timeout)
        except BaseException:
            up.close()
            raise
        self.parent_rank = rank
        self.broker.attrs.set("tbon.parent-endpoint", endpoint, immutable=True)
        return answer

    def parent_lost(self, reason: str, final: bool) -> None:
        """Find another parent (`UpstreamOwner`); without one the instance goes on without this broker."""
        assert self.parent_rank is not None
        self.log.error(f"lost parent broker (rank {self.parent_rank}): {reason}")
        if final or not self.settings.reparent_timeout:
            self._fail()
            return
        above = ancestors(self.topology, self.parent_rank)
        self.start_rejoin([*above, self.parent_rank])

    def start_rejoin(self, candidates: list[int]) -> None:
        """Look for a parent among these ranks, in this order (`OverlayService`)."""

        async def connect(rank: int, link: ParentLink, timeout: float) -> None:
            await self._join_parent(rank, link, timeout)

        search = Rejoin(self.broker.switch, connect, self.log.warning, self.settings.reparent_timeout)
        self.spawn(self._rejoin(search, candidates), "rejoin")

    async def _rejoin(self, search: Rejoin, candidates: list[int]) -> None:
        rank = await search.run(candidates)
        if rank is None:
            self._fail()
            return
        self.log.notice(f"rank {rank} is the parent broker now")
        if self._up is not None and self.peers.status is not self._reported:
            self._reported = self.peers.status
            self._up.send_status(self.peers.status)
        self._monitors.publish({"rank": rank, "status": "full", "torpid": False, "parent": True})
        ranks = str(IDset(self.topology.subtree(self.broker.rank)))
        self.flux.event_send(MOVED, {"rank": self.broker.rank, "parent": rank, "ranks": ranks}, private=True)

    def _fail(self) -> None:
        if self.broker.switch.has_service("state-machine"):
            self.flux.notify("state-machine.post", {"event": "parent-fail"}, self.broker.rank)
        else:
            self.broker.exit(1)

    # -- leaving

    async def stop(self) -> None:
        if self._up is not None:
            await self._up.leave(GOODBYE_TIMEOUT)
        self._close()

    def _close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        for part in (self._up, self._down, self._zap):
            if part is not None:
                part.close()
        if self._context is not None:
            self._context.destroy(linger=LINGER_MS)
        self._remove_socket_file()

    def _remove_socket_file(self) -> None:
        for endpoint in self._down.endpoints if self._down else ():
            path = endpoint.removeprefix("ipc://")
            if path != endpoint and os.path.exists(path):
                os.unlink(path)

    # -- children

    def check_child(self, msg: Message, hello: HelloRequest) -> None:
        """Refuse a child that is none of ours (`DownstreamOwner`)."""
        check_hello(msg, hello, self._child_hosts.get(hello.rank), self._version)

    def welcome(self) -> dict[str, Any]:
        sequence = self.broker.switch.sequence
        return {"uuid": self.broker.uuid, "hostlist": self._hostlist, "sequence": sequence}

    def ranks_behind(self, rank: int) -> list[int]:
        return self.topology.subtree(rank)

    def host_of(self, rank: int) -> str:
        return self._child_hosts.get(rank, "?")

    def child_changed(self, peer: Peer, moved: bool = False) -> None:
        """Tell everyone who wants to know (`DownstreamOwner`)."""
        if peer.status is Status.LOST:
            self.log.error(f"rank {peer.rank} ({self.host_of(peer.rank)}) is lost: {peer.error}")
        elif peer.torpid:
            self.log.warning(f"rank {peer.rank} is torpid: silent for {self.settings.torpid_max:g} s")
        self._announce(peer, set() if moved else self._gone_with(peer))
        self._health_watchers.publish(self._health())
        if self._up is not None and self.peers.status is not self._reported:
            self._reported = self.peers.status
            self._up.send_status(self.peers.status)
        if not self.peers.online:
            self._answer_parting()

    def _announce(self, peer: Peer, gone: set[int]) -> None:
        status = peer.status.name.lower()
        change = {"rank": peer.rank, "status": status, "torpid": peer.torpid, "gone": str(IDset(sorted(gone)))}
        self._monitors.publish(change)

    def _gone_with(self, peer: Peer) -> set[int]:
        """The ranks that are gone with a child; those behind a lost one may yet come by themselves."""
        if peer.status.online:
            return set()
        behind = self.family.behind(peer.rank)
        if peer.status is Status.LOST and self.settings.reparent_timeout and len(behind) > 1:
            grace = self.settings.reparent_timeout + _ORPHAN_GRACE
            self._loop.call_later(grace, self._miss_orphans, peer)
            return {peer.rank}
        return behind

    def _miss_orphans(self, peer: Peer) -> None:
        behind = self.family.behind(peer.rank)
        if peer.status is Status.LOST and len(behind) > 1:
            self.log.error(f"ranks {IDset(sorted(behind - {peer.rank}))} are lost with rank {peer.rank}")
            self._announce(peer, behind)

    def report(self, text: str, error: Exception | None = None) -> None:
        if error is None:
            self.log.warning(text)
        else:
            self.log.exception(text, error)

    # -- silence

    def _watch_silence(self) -> None:
        for name in ("torpid_min", "torpid_max"):
            self.broker.attrs.on_change(f"tbon.{name}", partial(self._set_limit, name))
        self._beat()

    def _set_limit(self, name: str, text: str) -> None:
        try:
            setattr(self.settings, name, duration(f"tbon.{name}", text))
        except FluxError as exc:
            self.log.error(f"{exc}; the old value stays in use")
            return
        self._beat()

    def _beat(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        interval = max(self.settings.torpid_min, _MIN_TICK)
        if self._up is not None:
            self._up.keep_alive(interval)
            self._check_parent(self._up)
        if self._down is not None:
            self._down.keep_alive(interval)
            if self.settings.torpid_max > 0:
                self._down.check_torpid(self.settings.torpid_max)
                self._down.give_up_silent(self.settings.queue_limit)
        self._tick = self._loop.call_later(interval, self._beat)

    def _check_parent(self, up: Upstream) -> None:
        """A silent parent is given up when there is another one to go to."""
        limit = self.settings.parent_timeout
        if self.settings.reparent_timeout and limit and self.parent_rank and up.is_silent(limit):
            up.disconnect(f"silent for {limit:g} s")
