"""Events on a running instance: order, privacy, confirmation, and subscribers that do not keep up (flux-event(1))."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

import flux
from flux.core.stream import EVENT_LIMIT, LOST_EVENTS
from flux.errors import FluxError
from flux.message import FLAG_PRIVATE
from flux.testing import Instance

RunningInstance = Callable[..., Instance]


def test_sequence_has_no_gap_and_is_the_same_on_every_rank(instance: RunningInstance) -> None:
    running = instance(size=3)
    listeners = [flux.Flux(running.uri_of(rank)) for rank in range(3)]
    for listener in listeners:
        listener.event_subscribe("seq.")
    publishers = [flux.Flux(running.uri_of(rank)) for rank in range(3)]
    confirmed = [publishers[i % 3].event_publish(f"seq.{i}", {"i": i}) for i in range(30)]
    assert confirmed == sorted(set(confirmed))
    for listener in listeners:
        got = [listener.event_recv() for _ in range(30)]
        assert [event.aux for event in got] == confirmed
        assert [event.payload["i"] for event in got] == list(range(30))
    for handle in (*listeners, *publishers):
        handle.close()


def test_private_flag_travels(instance: RunningInstance) -> None:
    running = instance(size=3)
    with flux.Flux(running.uri_of(2)) as listener, flux.Flux(running.uri_of(1)) as publisher:
        listener.event_subscribe("private.")
        publisher.event_publish("private.x", private=True)
        publisher.event_send("private.y")
        first, second = listener.event_recv(), listener.event_recv()
        assert (first.flags & FLAG_PRIVATE, second.flags & FLAG_PRIVATE) == (FLAG_PRIVATE, 0)


def test_publication_is_refused_elsewhere_and_with_unknown_flags(instance: RunningInstance) -> None:
    with flux.Flux(instance(size=3).uri_of(1)) as handle:
        for payload, nodeid in (({"topic": "x", "flags": 0}, 1), ({"topic": "x", "flags": 1}, 0)):
            with pytest.raises(FluxError) as caught:
                handle.rpc("event.publish", payload, nodeid=nodeid).get()
            assert caught.value.errno == errno.EPROTO


def test_subscriber_that_lags_is_told_what_it_missed(instance: RunningInstance) -> None:
    running = instance(size=3)
    size, number = 1 << 20, 3 * EVENT_LIMIT // (1 << 20)
    with flux.Flux(running.uri_of(1)) as slow, flux.Flux(running.uri) as publisher:
        slow.event_subscribe("lag.")
        sequences = [publisher.event_publish("lag.x", {"pad": "x" * size}) for _ in range(number)]
        with flux.Flux(running.uri_of(1)) as other:  # what it asks comes after the last event on that rank
            other.event_subscribe("lag.")
            publisher.event_publish("lag.end")
            while other.event_recv().topic != "lag.end":
                continue
        last = sequences[-1] + 1
        got: list[int] = []
        while not got or got[-1] < last:
            event = slow.event_recv()
            if event.topic == LOST_EVENTS:
                lost = event.payload
                assert lost["first"] == got[-1] + 1
                assert lost["count"] == lost["last"] - lost["first"] + 1
                got.append(lost["last"])
            else:
                assert not got or event.aux == got[-1] + 1
                got.append(event.aux)
        assert len(got) < number  # some were skipped, each of them was told of
        publisher.event_publish("lag.after")
        assert slow.event_recv().topic == "lag.after"
