"""The routing rules of RFC 3, 6 and 12: a message that goes astray is an answer that never comes."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux.message import (
    EVENT,
    FLAG_NORESPONSE,
    FLAG_PRIVATE,
    FLAG_STREAMING,
    FLAG_UPSTREAM,
    NODEID_ANY,
    REQUEST,
    RESPONSE,
    USERID_UNKNOWN,
    Message,
)
from flux_kernel.switch import Switch

OWNER, USER, LOCAL = 1, 2, 4


class Wire:
    """A link that keeps what it is given."""

    def __init__(self, uuid: str, userid: int = 100, rolemask: int = OWNER | LOCAL) -> None:
        self.uuid = uuid
        self.userid = userid
        self.rolemask = rolemask
        self.owner = bool(rolemask & OWNER)
        self.got: list[Message] = []

    def send(self, msg: Message) -> None:
        self.got.append(msg)

    def take(self) -> Message:
        (msg,) = self.got
        self.got.clear()
        return msg


def switch(rank: int = 0, size: int = 8) -> Switch:
    return Switch(rank, size, lambda _level, _text: None)


def request(topic: str, nodeid: int = NODEID_ANY, tag: int = 1, **options: int) -> Message:
    return Message(REQUEST, topic, aux=nodeid, matchtag=tag, routes=[], **options)


def with_service(rank: int = 0) -> tuple[Switch, Wire, Wire]:
    """A switch, a client on it, and the link of service `kvs`."""
    sw, client, service = switch(rank), Wire("client"), Wire("service")
    sw.attach(client)
    sw.attach(service)
    sw.add_service("kvs", service)
    return sw, client, service


def with_peers() -> tuple[Switch, Wire, Wire, Wire]:
    """Rank 1 of 8: a client, the parent (rank 0) and a child with ranks 3 and 7 behind it."""
    sw, client, parent, child = switch(1), Wire("client"), Wire("parent"), Wire("child")
    sw.attach(client)
    sw.attach_parent(parent)
    sw.attach_child(child, [3, 7])
    return sw, client, parent, child


def test_request_and_response_find_their_way() -> None:
    sw, client, service = with_service()
    sw.receive(request("kvs.lookup"), client)
    arrived = service.take()
    assert arrived.routes == ["client"]
    sw.receive(arrived.respond({"x": 1}), service)
    answer = client.take()
    assert (answer.routes, answer.payload, answer.matchtag) == ([], {"x": 1}, 1)


def test_unknown_service_is_answered_with_its_name() -> None:
    sw, client, _ = with_service()
    sw.receive(request("nope.do"), client)
    answer = client.take()
    assert answer.errnum == errno.ENOSYS
    assert answer.payload_str == "No service matching nope.do is registered"


def test_an_error_keeps_the_role_it_was_given_on_its_way_through_brokers() -> None:
    sw, client = switch(), Wire("client")
    child = Wire("child", USERID_UNKNOWN, 0)
    child.owner = True
    sw.attach(client)
    sw.attach_child(child, [1])
    sw.receive(request("nosuch.method", nodeid=1), client)
    error = child.take().respond(errnum=errno.ENOSYS)
    error.rolemask = OWNER
    sw.receive(error, child)
    assert client.take().rolemask == OWNER  # a client drops what nobody with a role has sent


def test_unknown_service_goes_upstream_first() -> None:
    sw, client, parent, _ = with_peers()
    sw.receive(request("kvs.lookup"), client)
    assert parent.take().routes == ["client"]


def test_request_from_the_parent_does_not_bounce() -> None:
    sw, _, parent, _ = with_peers()
    sw.receive(request("kvs.lookup"), parent)
    assert parent.take().errnum == errno.ENOSYS


@pytest.mark.parametrize(("nodeid", "via"), [(3, "child"), (7, "child"), (0, "parent"), (5, "parent")])
def test_rank_addressed_requests_take_the_tree(nodeid: int, via: str) -> None:
    sw, client, parent, child = with_peers()
    sw.receive(request("kvs.lookup", nodeid), client)
    wires = {"parent": parent, "child": child}
    assert wires.pop(via).take().nodeid == nodeid
    assert not next(iter(wires.values())).got


def test_own_rank_is_served_here_or_refused_here() -> None:
    sw, client, parent, _ = with_peers()
    sw.receive(request("kvs.lookup", 1), client)
    assert client.take().errnum == errno.ENOSYS
    assert not parent.got


@pytest.mark.parametrize("nodeid", [8, 4000])
def test_ranks_beyond_the_instance_are_unreachable(nodeid: int) -> None:
    sw, client, _, _ = with_peers()
    sw.receive(request("kvs.lookup", nodeid), client)
    assert client.take().errnum == errno.EHOSTUNREACH


def test_lost_rank_is_unreachable_and_not_sent_back() -> None:
    sw, _, parent, child = with_peers()
    sw.detach(child)
    sw.receive(request("kvs.lookup", 3), parent)
    assert parent.take().errnum == errno.EHOSTUNREACH


def test_upstream_skips_the_senders_own_rank() -> None:
    sw, client, parent, _ = with_peers()
    service = Wire("service")
    sw.attach(service)
    sw.add_service("kvs", service)
    sw.receive(request("kvs.lookup", 1, flags=FLAG_UPSTREAM), client)
    assert parent.take().topic == "kvs.lookup"
    sw.receive(request("kvs.lookup", 3, flags=FLAG_UPSTREAM), parent)
    assert service.take().topic == "kvs.lookup"


def test_end_of_a_link_answers_what_waits_on_it_and_tells_what_it_called() -> None:
    sw, client, service = with_service()
    sw.receive(request("kvs.lookup", tag=1), client)
    sw.receive(request("kvs.watch", tag=2, flags=FLAG_STREAMING), client)
    sw.receive(request("kvs.notify", tag=0, flags=FLAG_NORESPONSE), client)
    sw.receive(service.got[1].respond({}), service)
    client.got.clear()
    sw.detach(service, errno.EHOSTUNREACH, "gone")
    assert sorted((msg.matchtag, msg.errnum, msg.payload_str) for msg in client.got) == [
        (1, errno.EHOSTUNREACH, "gone"),
        (2, errno.EHOSTUNREACH, "gone"),
    ]


def test_a_client_that_goes_away_leaves_nothing() -> None:
    sw, client, service = with_service()
    for tag in (1, 2, 3):
        sw.receive(request("kvs.lookup", tag=tag), client)
    sw.subscribe("heart", client)
    sw.add_service("mine", client)
    service.got.clear()
    sw.detach(client)
    disconnect = service.take()
    assert (disconnect.topic, disconnect.sender, disconnect.noresponse) == ("kvs.disconnect", "client", True)
    assert not sw.has_service("mine")
    assert sw.stats()["pending"] == 0
    sw.receive(Message(EVENT, "heartbeat"), service)
    assert not client.got


def test_answered_requests_are_forgotten() -> None:
    sw, client, service = with_service()
    sw.receive(request("kvs.lookup"), client)
    sw.receive(service.take().respond(), service)
    sw.receive(request("kvs.watch", flags=FLAG_STREAMING), client)
    stream = service.take()
    sw.receive(stream.respond({}), service)
    assert sw.stats()["pending"] == 1
    sw.receive(stream.respond(errnum=errno.ENODATA), service)
    assert sw.stats()["pending"] == 0


def test_guests_cannot_pretend() -> None:
    sw, _, service = with_service()
    guest = Wire("guest", userid=7, rolemask=USER | LOCAL)
    sw.attach(guest)
    sw.receive(request("kvs.lookup", userid=100, rolemask=OWNER), guest)
    arrived = service.take()
    assert (arrived.userid, arrived.rolemask) == (7, USER | LOCAL)


def test_the_owner_may_speak_for_a_guest() -> None:
    sw, client, service = with_service()
    sw.receive(request("kvs.lookup", userid=7, rolemask=USER), client)
    arrived = service.take()
    assert (arrived.userid, arrived.rolemask) == (7, USER)
    sw.receive(request("kvs.lookup"), client)
    assert (service.got[0].userid, service.got[0].rolemask) == (100, OWNER | LOCAL)


def test_service_names() -> None:
    sw, client, _service = with_service()
    for name, errnum in (("", errno.EINVAL), ("a.b", errno.EINVAL), ("kvs", errno.EEXIST)):
        with pytest.raises(FluxError) as caught:
            sw.add_service(name, client)
        assert caught.value.errno == errnum
    for name, errnum in (("none", errno.ENOENT), ("kvs", errno.EINVAL)):
        with pytest.raises(FluxError) as caught:
            sw.remove_service(name, client)
        assert caught.value.errno == errnum


def test_events_are_numbered_and_delivered_once_by_prefix() -> None:
    sw, client, service = with_service()
    child = Wire("child")
    sw.attach_child(child, [1])
    for prefix in ("job", "job-", "job-"):
        sw.subscribe(prefix, client)
    for topic in ("job-state", "kvs.setroot", "jobs"):
        sw.receive(Message(EVENT, topic), service)
    assert [(msg.topic, msg.sequence) for msg in client.got] == [("job-state", 1), ("jobs", 3)]
    assert [msg.sequence for msg in child.got] == [1, 2, 3]
    sw.unsubscribe("job-", client)
    sw.unsubscribe("job", client)
    sw.unsubscribe("job-", client)
    with pytest.raises(FluxError):
        sw.unsubscribe("job", client)


def test_private_events_reach_owner_and_sender_only() -> None:
    sw, client, _service = with_service()
    sender, other = Wire("a", 7, USER), Wire("b", 8, USER)
    for wire in (sender, other):
        sw.attach(wire)
        sw.subscribe("", wire)
    sw.subscribe("", client)
    sw.receive(Message(EVENT, "secret", flags=FLAG_PRIVATE), sender)
    assert [len(wire.got) for wire in (client, sender, other)] == [1, 1, 0]


def test_unnumbered_events_go_up_and_come_down_numbered() -> None:
    sw, client, parent, child = with_peers()
    sw.subscribe("", client)
    sw.receive(Message(EVENT, "x"), child)
    assert parent.take().sequence == 0
    assert not client.got
    sw.receive(Message(EVENT, "x", aux=5), parent)
    assert client.take().sequence == child.take().sequence == 5


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60))
def test_order_between_two_ends_is_kept(steps: list[tuple[int, bool]]) -> None:
    sw, service = switch(), Wire("service")
    sw.attach(service)
    sw.add_service("kvs", service)
    clients = [Wire(f"c{i}") for i in range(3)]
    for client in clients:
        sw.attach(client)
    for tag, (who, _) in enumerate(steps, 1):
        sw.receive(request("kvs.x", tag=tag), clients[who])
    arrived = list(service.got)
    assert [msg.matchtag for msg in arrived] == list(range(1, len(steps) + 1))
    for msg in arrived:
        sw.receive(msg.respond(), service)
    for who, client in enumerate(clients):
        assert [msg.matchtag for msg in client.got] == [tag for tag, (w, _) in enumerate(steps, 1) if w == who]
        assert all(msg.type == RESPONSE for msg in client.got)
