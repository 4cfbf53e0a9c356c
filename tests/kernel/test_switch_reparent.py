"""What the switch does when a broker comes under another parent: each request is answered once, no event twice."""

from __future__ import annotations

import errno

from test_switch import Wire, request, switch

from flux.message import EVENT, RESPONSE, Message
from flux_kernel.switch import Switch


def with_children() -> tuple[Switch, Wire, Wire, Wire]:
    """Rank 0 of 8: a client, child 1 with ranks 3 and 4 behind it, and child 3 that has come up from there."""
    sw, client, first, moved = switch(0), Wire("client"), Wire("first"), Wire("moved")
    sw.attach(client)
    sw.attach_child(first, [1, 3, 4])
    return sw, client, first, moved


def test_a_rank_that_moved_up_is_reached_there_and_again_where_it_was() -> None:
    sw, client, first, moved = with_children()
    sw.attach_child(moved, [3])
    sw.receive(request("a.b", 3, 1), client)
    assert moved.take().topic == "a.b"
    sw.receive(request("a.b", 4, 2), client)
    assert first.take().topic == "a.b"
    sw.detach(moved)
    sw.receive(request("a.b", 3, 3), client)
    assert first.take().matchtag == 3


def test_what_waits_for_a_rank_that_moved_is_answered_once() -> None:
    sw, client, first, moved = with_children()
    sw.receive(request("a.b", 3, 1), client)
    sw.receive(request("a.b", 4, 2), client)
    late = first.got[0].respond({"late": True})
    sw.attach_child(moved, [3])
    answer = client.take()
    assert (answer.type, answer.matchtag, answer.aux) == (RESPONSE, 1, errno.EHOSTUNREACH)
    sw.receive(late, first)
    assert client.got == []
    sw.receive(first.got[1].respond({"n": 4}), first)
    assert client.take().payload == {"n": 4}


def test_events_that_were_seen_from_the_former_parent_are_not_delivered_again() -> None:
    sw, client, old, new = switch(3), Wire("client"), Wire("old"), Wire("new")
    sw.attach(client)
    sw.attach_parent(old)
    sw.subscribe("a", client)
    for sequence in (5, 6):
        sw.receive(Message(EVENT, "a", aux=sequence), old)
    sw.attach_parent(new)
    for sequence in (5, 6, 7):
        sw.receive(Message(EVENT, "a", aux=sequence), new)
    assert [msg.sequence for msg in client.got] == [5, 6, 7]


def test_a_tag_that_is_used_again_on_another_way_is_not_mistaken() -> None:
    sw, _client, first, moved = with_children()
    sw.attach_child(moved, [3])
    asked = request("a.b", 4, 1)
    asked.routes = ["client of 3", "former parent of 3"]
    sw.receive(asked, moved)
    again = request("a.b", 4, 1)
    again.routes = ["client of 3"]
    sw.receive(again, moved)
    old, new = first.got
    sw.receive(old.respond({"n": 1}), first)
    sw.receive(new.respond({"n": 2}), first)
    assert [(msg.payload, msg.routes) for msg in moved.got] == [
        ({"n": 1}, ["client of 3", "former parent of 3"]),
        ({"n": 2}, ["client of 3"]),
    ]
