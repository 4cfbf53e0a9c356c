"""Links between two brokers over real ZeroMQ sockets: routing, joining, leaving, and every way to be lost."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest
import zmq
from overlay_pair import LIMIT, VERSION, Client, Leaf, Root, run_pair

from flux.errors import FluxError
from flux.message import (
    CONTROL,
    EVENT,
    FLAG_UPSTREAM,
    NODEID_ANY,
    REQUEST,
    RESPONSE,
    ROLE_LOCAL,
    ROLE_OWNER,
    ROLE_USER,
    Message,
    decode_parts,
    encode_parts,
)
from flux_plugins.overlay import wire
from flux_plugins.overlay.peers import Status
from flux_plugins.zeromq.curve import dealer, router
from flux_plugins.zeromq.sockets import LINGER_MS


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/tbon-0" if request.param == "ipc" else "tcp://127.0.0.1:*"


@pytest.fixture
def ipc(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/tbon-0"


def request(topic: str, nodeid: int = NODEID_ANY, **more: Any) -> Message:
    return Message(REQUEST, topic, more.pop("payload", {"n": 1}), aux=nodeid, matchtag=4, routes=[], **more)


async def exchange(asker: Client, server: Client, msg: Message) -> Message:
    asker.say(msg)
    got = await server.get()
    server.say(got.respond({"echo": got.payload}))
    return await asker.get()


def test_requests_and_responses_go_both_ways(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        above, below = Client(root.switch, "up"), Client(leaf.switch, "down")
        for asker, server, msg in (
            (below, above, request("up.x")),
            (below, above, request("up.x", 0)),
            (below, above, request("up.x", 1, flags=FLAG_UPSTREAM)),
            (above, below, request("down.x", 1)),
        ):
            answer = await exchange(asker, server, msg)
            assert answer.payload == {"echo": {"n": 1}}
            assert answer.matchtag == 4
            assert answer.routes == []
        assert root.switch.pending(root.down.links()[0]) == 0

    run_pair(scenario, endpoint)


def test_credentials_travel_and_the_local_role_does_not(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        above, below = Client(root.switch, "up"), Client(leaf.switch)
        below.say(request("up.x", userid=77, rolemask=ROLE_USER | ROLE_LOCAL))
        got = await above.get()
        assert (got.userid, got.rolemask) == (77, ROLE_USER)

    run_pair(scenario, ipc)


def test_order_is_kept_and_large_payloads_arrive(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        above, below = Client(root.switch, "up"), Client(leaf.switch)
        big = "x" * 3_000_000
        for n in range(3000):
            below.say(request("up.x", payload={"n": n, "big": big if n == 1500 else ""}))
        numbers = []
        for _ in range(3000):
            payload = (await above.get()).payload
            numbers.append(payload["n"])
            assert len(payload["big"]) == (3_000_000 if payload["n"] == 1500 else 0)
        assert numbers == list(range(3000))

    run_pair(scenario, endpoint)


def test_events_are_numbered_at_the_root_and_come_back(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        below = Client(leaf.switch)
        leaf.switch.subscribe("a.", below)
        below.say(Message(EVENT, "a.b", {"n": 1}))
        first = await below.get()
        root.switch.publish(Message(EVENT, "other", routes=["stale"]))
        root.switch.publish(Message(EVENT, "a.c"))
        second = await below.get()
        assert [(m.topic, m.sequence) for m in (first, second)] == [("a.b", 1), ("a.c", 3)]

    run_pair(scenario, ipc)


def test_an_unknown_key_is_refused(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        with pytest.raises(PermissionError, match="did not accept our key"):
            await leaf.join()
        assert any("public key is not one of" in text for text in root.reports)
        assert not root.peers.online

    run_pair(scenario, endpoint, admit=False)


def test_a_server_with_another_key_is_not_joined(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        other = Leaf.__new__(Leaf)
        wrong = zmq.curve_keypair()[0]
        real, root.public = root.public, wrong
        other.__init__(root)  # type: ignore[misc]
        root.public = real
        root.zap.allow(other.keys[0].decode(), 1)
        try:
            with pytest.raises((FluxError, TimeoutError)):
                await asyncio.wait_for(other.join(), 0.5)
        finally:
            other.close()
        assert not root.peers.online

    run_pair(scenario, ipc, admit=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": VERSION - 0x100}, "version mismatched"),
        ({"hostname": "elsewhere"}, "mismatched config"),
        ({"rank": 5}, "not a child"),
        ({"uuid": "not-the-socket's"}, "calls itself"),
    ],
)
def test_a_refused_hello_says_why(ipc: str, changes: dict[str, Any], says: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        root.zap.allow(leaf.keys[0].decode(), 1)
        with pytest.raises(FluxError, match=says):
            await leaf.join(**changes)
        assert not root.peers.online
        assert any(says in text for text in root.reports)

    run_pair(scenario, ipc, admit=False)


def test_a_key_belongs_to_one_rank(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        root.zap.allow(leaf.keys[0].decode(), 2)
        with pytest.raises(PermissionError, match="key of rank 2 cannot be used by rank 1"):
            await leaf.join()

    run_pair(scenario, ipc, admit=False)


def test_a_hello_waits_until_the_parent_is_open(ipc: str) -> None:
    async def main() -> None:
        root = Root(ipc)
        leaf = Leaf(root)
        try:
            root.zap.allow(leaf.keys[0].decode(), 1)
            joining = asyncio.ensure_future(leaf.join())
            while root.down._early == []:
                await asyncio.wait({joining}, timeout=0.01)
            assert not joining.done()
            root.down.open()
            assert (await joining).hostlist == "host[0-1]"
        finally:
            leaf.close()
            root.close()

    asyncio.run(main())


def test_goodbye_makes_the_child_offline(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        await leaf.up.leave(LIMIT)
        assert (await root.changed()).status is Status.OFFLINE
        assert not leaf.lost.done()
        client = Client(root.switch)
        client.say(request("x.y", 1))
        assert (await client.get()).errnum == errno.EHOSTUNREACH

    run_pair(scenario, endpoint)


def test_a_vanished_child_is_lost_and_its_requests_answered(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        client, _server = Client(root.switch), Client(leaf.switch, "down")
        client.say(request("down.x", 1))
        await _server.get()
        leaf.up._monitor.close()
        leaf.up._socket.close()
        answer = await client.get()
        assert (answer.errnum, answer.payload_str) == (errno.EHOSTUNREACH, "host1 (rank 1) is lost: connection closed")
        assert (await root.changed()).status is Status.LOST

    run_pair(scenario, endpoint)


def test_what_a_child_sent_before_its_end_is_handled(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        above, below = Client(root.switch, "up"), Client(leaf.switch)
        for n in range(100):
            below.say(request("up.x", payload={"n": n}))
        # read what is due, then go without a word; LINGER lets the requests leave
        leaf.up.close()
        assert [(await above.get()).payload["n"] for _ in range(100)] == list(range(100))
        assert (await root.changed()).status is Status.LOST

    run_pair(scenario, ipc)


def test_a_vanished_parent_is_reported_and_requests_answered(endpoint: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        server, client = Client(root.switch, "up"), Client(leaf.switch)
        client.say(request("up.x"))
        await server.get()
        root.down._monitor.close()
        root.down._socket.close()
        answer = await client.get()
        assert (answer.errnum, answer.payload_str) == (errno.EHOSTUNREACH, "overlay disconnect")
        assert "closed" in await asyncio.wait_for(leaf.lost, LIMIT)
        client.say(request("up.x"))
        assert (await client.get()).errnum == errno.ENOSYS

    run_pair(scenario, endpoint)


def test_a_parent_that_goes_down_disconnects_its_children(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        root.down.close()
        assert "disconnected this broker" in await asyncio.wait_for(leaf.lost, LIMIT)
        assert (await root.changed()).status is Status.LOST

    run_pair(scenario, ipc)


def test_a_malformed_message_ends_that_child_only(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        leaf.up._socket.send([b"", b"nonsense"])
        peer = await root.changed()
        assert peer.status is Status.LOST
        assert "malformed" in peer.error
        await asyncio.wait_for(leaf.lost, LIMIT)

    run_pair(scenario, ipc)


def test_a_peer_that_never_said_hello_is_disconnected(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        root.zap.allow(leaf.keys[0].decode(), 1)
        sock = leaf.up._socket
        got: asyncio.Queue[list[bytes]] = asyncio.Queue()
        sock._on_frames = got.put_nowait
        sock.sock.connect(root.endpoint)
        for frames in (encode_parts(request("attr.get")), [b"garbage"]):
            sock.send(frames)
            answer = decode_parts(await asyncio.wait_for(got.get(), LIMIT))
            assert (answer.type, answer.aux) == (CONTROL, wire.CONTROL_DISCONNECT)

    run_pair(scenario, ipc, admit=False)


def test_silence_and_signs_of_life(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        peer = root.peers.by_rank[1]
        peer.last_seen = 0.0
        root.down.check_torpid(1.0)
        assert (await root.changed()).torpid
        leaf.up.keep_alive(3600.0)
        leaf.up.keep_alive(0.0)
        assert not (await root.changed()).torpid
        assert peer.last_seen > 0.0

    run_pair(scenario, ipc)


def test_the_status_of_a_subtree_is_told(ipc: str) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        leaf.up.send_status(Status.DEGRADED)
        assert (await root.changed()).status is Status.DEGRADED
        assert root.peers.status is Status.DEGRADED

    run_pair(scenario, ipc)


def test_no_parent_at_the_endpoint_is_a_clear_error(tmp_path: Path) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        root.endpoint = f"ipc://{tmp_path}/nobody"
        hello = leaf.up.join(root.endpoint, wire_hello(leaf), 0.05)
        with pytest.raises(TimeoutError, match="no connection to parent broker at ipc://"):
            await hello

    run_pair(scenario, f"ipc://{tmp_path}/tbon-0", admit=False)


def wire_hello(leaf: Leaf) -> Any:
    from flux_plugins.overlay.hello import HelloRequest

    return HelloRequest(1, VERSION, leaf.uuid, 1, "host1")


def test_an_endpoint_that_cannot_be_bound_is_named(ipc: str, tmp_path: Path) -> None:
    async def scenario(root: Root, leaf: Leaf) -> None:
        with pytest.raises(FluxError, match=r"cannot bind ipc:///no/such"):
            root.down.bind("ipc:///no/such/folder/tbon-0")

    run_pair(scenario, ipc, admit=False)


def test_responses_have_the_type_and_role_that_stock_brokers_send(ipc: str) -> None:
    answer = wire.response(Message(REQUEST, "overlay.hello", rolemask=ROLE_OWNER, routes=[]), {"uuid": "u"})
    assert (answer.type, answer.userid, answer.rolemask) == (RESPONSE, 0xFFFFFFFF, 0)
    assert answer.routes == []


def test_a_connection_lingers_no_longer_than_its_socket() -> None:
    # one that ends by itself goes by what was set when the socket was bound: for ever, and the broker does not end
    public, secret = zmq.curve_keypair()
    with zmq.Context() as context:
        ends = router(context, secret), dealer(context, "child", (public, secret), public.decode())
        assert [end.getsockopt(zmq.LINGER) for end in ends] == [LINGER_MS] * 2
        context.destroy()
