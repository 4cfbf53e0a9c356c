"""Brokers whose parent dies, hangs or is left: they come under another one, and nobody else notices."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_overlay_instance import COMPOSITION, change_of, members, pid_of, ping, wait_for_run

from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.testing import Instance, wait_for

Start = Callable[..., Instance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an instance whose brokers may die; `name__part=value` sets an attribute."""
    running: list[Instance] = []
    composition = tmp_path / "plugins.toml"
    composition.write_text(COMPOSITION)

    def start(size: int, **attrs: str) -> Instance:
        named = {name.replace("__", "."): value for name, value in attrs.items()}
        args = [f"--plugins={composition}", "--test-exit-mode=leader"]
        instance = Instance(size, {"tbon.fanout": "2", **named}, args)
        running.append(instance.start())
        return instance

    yield start
    for instance in running:
        instance.stop()


def parent_of(instance: Instance, rank: int) -> int:
    return int(instance.handle(rank).rpc("overlay.parent").get()["rank"])


class Reader:
    """A handle that collects the numbers of `count.*` events as they come."""

    def __init__(self, instance: Instance, rank: int) -> None:
        self.handle = instance.handle(rank)
        self.handle.event_subscribe("count")
        self.numbers: list[int] = []

    def read_to(self, last: int) -> list[int]:
        while not self.numbers or self.numbers[-1] != last:
            self.numbers.append(self.handle.event_recv().payload["n"])
        return self.numbers


def publish(handle: Any, numbers: range) -> None:
    for n in numbers:
        handle.event_publish("count", {"n": n})


def test_the_children_of_a_killed_broker_go_on_under_its_parent(start: Start) -> None:
    instance = start(7)
    handle = instance.handle()
    readers = [Reader(instance, rank) for rank in (3, 4)]
    pids = {rank: pid_of(instance, rank) for rank in (1, 3, 4)}
    waiting = instance.handle(3).rpc("state-machine.monitor", {"final": 11}, 1, FLAG_STREAMING)
    wait_for_run(waiting)
    publish(handle, range(10))
    for reader in readers:
        reader.read_to(9)
    os.kill(pids[1], signal.SIGKILL)
    publish(handle, range(10, 500))
    for reader in readers:
        assert reader.read_to(499) == list(range(500))
    with pytest.raises(FluxError) as caught:
        waiting.get()
    assert caught.value.errno == errno.EHOSTUNREACH
    assert [ping(instance, 0, rank) for rank in (3, 4)] == [3, 4]
    assert [ping(instance, 3, rank) for rank in (0, 2, 4, 6)] == [0, 2, 4, 6]
    assert [parent_of(instance, rank) for rank in (3, 4)] == [0, 0]
    assert [pid_of(instance, rank) for rank in (3, 4)] == [pids[3], pids[4]]
    wait_for(lambda: members(handle, "broker.online") == "0,2-6", what="rank 1 alone has left the group")
    with pytest.raises(FluxError, match=r"Unable to connect|No route to host|lost") as caught:
        ping(instance, 0, 1)
    assert caught.value.errno == errno.EHOSTUNREACH
    health = handle.rpc("overlay.health", nodeid=0).get()
    assert [(c["rank"], c["status"]) for c in health["children"]] == [
        (1, "lost"),
        (2, "full"),
        (3, "full"),
        (4, "full"),
    ]
    tree = handle.rpc("overlay.topology", {"rank": 0}).get()
    assert [(child["rank"], child["size"]) for child in tree["children"]] == [(1, 1), (2, 3), (3, 1), (4, 1)]


def test_an_orphan_whose_grandparent_is_dead_too_finds_the_one_above(start: Start) -> None:
    instance = start(8, **{"tbon.fanout": "1", "tbon.reparent-timeout": "3s"})
    pids = [pid_of(instance, rank) for rank in (2, 3)]
    reader = Reader(instance, 7)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    publish(instance.handle(), range(200))
    assert reader.read_to(199) == list(range(200))
    assert parent_of(instance, 4) in (0, 1)  # 0 when rank 1 does not answer at once
    assert [ping(instance, 0, rank) for rank in (1, 4, 7)] == [1, 4, 7]
    assert [ping(instance, 7, rank) for rank in (0, 1, 5)] == [0, 1, 5]
    wait_for(lambda: members(instance.handle(), "broker.online") == "0-1,4-7", what="two ranks have left the group")


def test_events_beyond_the_backlog_are_announced_as_lost(start: Start) -> None:
    instance = start(4, **{"tbon.event-backlog": "5", "tbon.parent-timeout": "4s", "tbon.torpid_min": "0.2s"})
    reader = instance.handle(3)
    reader.event_subscribe("count")
    reader.event_subscribe("overlay.resync")
    pid = pid_of(instance, 1)
    os.kill(pid, signal.SIGSTOP)
    try:
        publish(instance.handle(), range(50))
        first = reader.event_recv()
        assert first.topic == "overlay.resync"
        assert first.payload["last"] - first.payload["first"] >= 49
        assert first.sequence == first.payload["last"]
        assert parent_of(instance, 3) == 0
        publish(instance.handle(), range(50, 52))
        assert [reader.event_recv().payload["n"] for _ in range(2)] == [50, 51]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [ping(instance, 1, rank) for rank in (0, 3)] == [0, 3]


def test_a_broker_changes_its_parent_by_request_and_back(start: Start) -> None:
    instance = start(7)
    handle = instance.handle()
    reader = Reader(instance, 3)
    total = 0
    for parent in (0, 1, 0):
        watch = handle.rpc("overlay.health", nodeid=parent, flags=FLAG_STREAMING)
        instance.handle(3).rpc("overlay.reparent", {"parent": parent}).get()
        publish(handle, range(total, total + 100))
        total += 100
        assert reader.read_to(total - 1) == list(range(total))
        while not any(c["rank"] == 3 and c["status"] == "full" for c in watch.get()["children"]):
            watch.reset()
        assert parent_of(instance, 3) == parent
        assert [ping(instance, 0, rank) for rank in range(7)] == list(range(7))
        assert [ping(instance, 3, rank) for rank in range(7)] == list(range(7))
        assert members(handle, "broker.online") == "0-6"
    for parent, expected in ((2, errno.EINVAL), (0, errno.EEXIST)):
        with pytest.raises(FluxError) as caught:
            instance.handle(3).rpc("overlay.reparent", {"parent": parent}).get()
        assert caught.value.errno == expected


def test_a_broker_that_is_gone_with_those_below_it_is_missed(start: Start) -> None:
    instance = start(7, **{"tbon.reparent-timeout": "0.2s"})
    handle = instance.handle()
    pids = [pid_of(instance, rank) for rank in (1, 3, 4)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: members(handle, "broker.online") == "0,2,5-6", what="all three have left the group")


def test_a_torpid_child_is_given_up_when_too_much_waits_for_it(start: Start) -> None:
    options = {"tbon.torpid_min": "0.1s", "tbon.torpid_max": "0.3s", "tbon.queue-limit": "2"}
    instance = start(2, **options)
    handle = instance.handle()
    reader = instance.handle(1)
    reader.event_subscribe("overlay.resync")
    watch: Any = handle.rpc("overlay.monitor", nodeid=0, flags=FLAG_STREAMING)
    pid = pid_of(instance, 1)
    os.kill(pid, signal.SIGSTOP)
    try:
        change_of(watch, 1, torpid=True)
        for _ in range(40):
            handle.event_publish("big", {"pad": "x" * 600_000})
        assert change_of(watch, 1, status="lost")["gone"] == "1"
        health = handle.rpc("overlay.health", nodeid=0).get()
        assert "MiB were sent to it" in health["children"][0]["error"]
    finally:
        os.kill(pid, signal.SIGCONT)
    lost = reader.event_recv().payload
    assert lost["last"] >= lost["first"]
    wait_for(lambda: ping(instance, 1, 0) == 0)
    assert ping(instance, 0, 1) == 1
    wait_for(lambda: members(handle, "broker.online") == "0-1", what="rank 1 is back in the group")


def test_a_child_that_is_not_torpid_is_sent_more_than_the_limit(start: Start) -> None:
    instance = start(2, **{"tbon.queue-limit": "1"})
    handle = instance.handle()
    reader = Reader(instance, 1)
    pid = pid_of(instance, 1)
    os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(10):
            handle.event_publish("count", {"n": n, "pad": "x" * 400_000})
    finally:
        os.kill(pid, signal.SIGCONT)
    assert reader.read_to(9) == list(range(10))
    health = handle.rpc("overlay.health", nodeid=0).get()
    assert [child["status"] for child in health["children"]] == ["full"]
