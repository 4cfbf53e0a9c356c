"""Two brokers' ends of an overlay connection in one process, with real sockets and real switches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import zmq

from flux.message import ROLE_LOCAL, ROLE_OWNER, Message
from flux_kernel.switch import Switch
from flux_plugins.overlay.downstream import Downstream
from flux_plugins.overlay.hello import HelloRequest, HelloResponse, check_hello
from flux_plugins.overlay.peers import Peer, Peers
from flux_plugins.overlay.upstream import Upstream
from flux_plugins.zeromq.zap import ZapHandler

VERSION = 0x5800
LIMIT = 30.0


class Client:
    """A link that collects what it is sent."""

    userid = 1000
    rolemask = ROLE_OWNER | ROLE_LOCAL
    owner = True

    def __init__(self, switch: Switch, *services: str) -> None:
        self.uuid = str(uuid4())
        self.switch = switch
        self.got: asyncio.Queue[Message] = asyncio.Queue()
        switch.attach(self)
        for service in services:
            switch.add_service(service, self)

    def send(self, msg: Message) -> None:
        self.got.put_nowait(msg)

    def say(self, msg: Message) -> None:
        self.switch.receive(msg, self)

    async def get(self) -> Message:
        return await asyncio.wait_for(self.got.get(), LIMIT)


class Root:
    """Rank 0 of 2, listening (`DownstreamOwner`)."""

    def __init__(self, endpoint: str) -> None:
        self.uuid = str(uuid4())
        self.context: zmq.Context[Any] = zmq.Context()
        self.reports: list[str] = []
        self.changes: asyncio.Queue[Peer] = asyncio.Queue()
        self.switch = Switch(0, 2, lambda _level, text: self.reports.append(text))
        self.peers = Peers([1], 0.0)
        self.public, secret = zmq.curve_keypair()
        self.zap = ZapHandler(self.context, self.report, self.fail)
        self.down = Downstream(self.context, secret, self.uuid, self.switch, self.peers, self)
        self.endpoint = self.down.bind(endpoint)

    def check_child(self, msg: Message, hello: HelloRequest) -> None:
        check_hello(msg, hello, {1: "host1"}.get(hello.rank), VERSION)

    def welcome(self) -> dict[str, Any]:
        return {"uuid": self.uuid, "hostlist": "host[0-1]"}

    def ranks_behind(self, rank: int) -> list[int]:
        return [rank]

    def host_of(self, rank: int) -> str:
        return f"host{rank}"

    def child_changed(self, peer: Peer, moved: bool = False) -> None:
        self.changes.put_nowait(peer)

    def report(self, text: str, error: Exception | None = None) -> None:
        self.reports.append(f"{text}: {error}" if error else text)

    def fail(self, exc: Exception) -> None:
        raise AssertionError("a handler raised") from exc

    async def changed(self) -> Peer:
        return await asyncio.wait_for(self.changes.get(), LIMIT)

    def close(self) -> None:
        self.down.close()
        self.zap.close()
        self.context.destroy(linger=0)


class Leaf:
    """Rank 1 of 2 (`UpstreamOwner`)."""

    def __init__(self, root: Root) -> None:
        self.uuid = str(uuid4())
        self.root = root
        self.context: zmq.Context[Any] = zmq.Context()
        self.reports: list[str] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.switch = Switch(1, 2, lambda _level, text: self.reports.append(text))
        self.keys = zmq.curve_keypair()
        self.up = Upstream(self.context, self.uuid, self.keys, root.public.decode(), self.switch, self)

    async def join(self, **changes: Any) -> HelloResponse:
        hello = {"rank": 1, "version": VERSION, "uuid": self.uuid, "status": 1, "hostname": "host1", **changes}
        joining = self.up.join(self.root.endpoint, HelloRequest(**hello), LIMIT)
        return await asyncio.wait_for(joining, LIMIT)

    def parent_lost(self, reason: str, final: bool) -> None:
        self.lost.set_result(reason)

    def report(self, text: str, error: Exception | None = None) -> None:
        self.reports.append(f"{text}: {error}" if error else text)

    def close(self) -> None:
        self.up.close()
        self.context.destroy(linger=0)


def run_pair(scenario: Callable[[Root, Leaf], Coroutine[Any, Any, None]], endpoint: str, admit: bool = True) -> None:
    """Run a scenario with two brokers; the leaf has said hello when `admit` is true."""

    async def main() -> None:
        root = Root(endpoint)
        leaf = Leaf(root)
        try:
            root.down.open()
            if admit:
                root.zap.allow(leaf.keys[0].decode(), 1)
                await leaf.join()
                assert (await root.changed()).status.online
            await asyncio.wait_for(scenario(root, leaf), 3 * LIMIT)
        finally:
            leaf.close()
            root.close()

    asyncio.run(main())
