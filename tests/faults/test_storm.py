"""Brokers are killed at random, interior ones and leaves, while the others work: nobody may notice but their callers.

FAULT_SECONDS makes it longer (default 15), FAULT_BROKERS larger (default 16), FAULT_SEED another one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storm import ANSWER_LIMIT, Caller, Publisher, Storm, Subscriber, alive_parent, private_memory

from flux.idset import IDset
from flux.testing import Instance, wait_for

COMPOSITION = """
[bootstrap.pmi]
[bootstrap.single]
[transports.local]
[transports.overlay]
[modules.state-machine]
[modules.attr]
[modules.log]
[modules.config]
[modules.groups]
[modules.heartbeat]
"""
FANOUT = 2
MEMORY_GROWTH = 24 << 20
SECONDS = float(os.environ.get("FAULT_SECONDS", "15"))
BROKERS = int(os.environ.get("FAULT_BROKERS", "16"))
SEED = int(os.environ.get("FAULT_SEED", "1"))


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Instance]:
    composition = tmp_path / "plugins.toml"
    composition.write_text(COMPOSITION)
    args = [f"--plugins={composition}", "--test-exit-mode=leader"]
    with Instance(BROKERS, {"tbon.fanout": str(FANOUT), "log-stderr-level": "2"}, args) as instance:
        yield instance


@pytest.mark.timeout(SECONDS + 180)
def test_survivors_of_a_storm_miss_nothing(brokers: Instance) -> None:
    storm = Storm(brokers, SECONDS, BROKERS // 3, SEED)
    subscribers = [Subscriber(storm, rank) for rank in range(BROKERS)]
    callers = [Caller(storm, rank) for rank in range(0, BROKERS, 2)]
    publisher = Publisher(storm, 0)
    root = brokers.broker_pid(0)
    before = private_memory(root)
    workers = [*subscribers, *callers, publisher]
    storm.rage(workers)
    deadline = time.monotonic() + 2 * ANSWER_LIMIT
    alive = storm.survivors()
    for worker in workers:
        if worker.rank in alive:
            worker.join(max(0.0, deadline - time.monotonic()))
            assert not worker.is_alive(), f"{worker.name} hangs"
    assert [worker.problem for worker in workers if worker.problem] == []
    assert [subscribers[rank].seen for rank in alive] == [publisher.count + 1] * len(alive)
    assert all(subscribers[rank].complete for rank in alive)
    assert all(caller.answered > 0 for caller in callers)

    for rank in alive[1:]:
        handle = brokers.handle(rank)
        assert handle.rpc("overlay.parent").get()["rank"] == alive_parent(rank, FANOUT, storm.dead)
        assert [int(handle.rpc("broker.ping", {"seq": 1}, nodeid=r).get()["rank"]) for r in alive] == alive
    root_handle = brokers.handle()
    wait_for(lambda: _online(root_handle) == alive, what="the group of brokers online is that of the survivors")
    for rank in alive:
        stats = brokers.handle(rank).rpc("overlay.stats-get").get()
        assert stats["parent-rpc"] < BROKERS and stats["child-rpc"] < BROKERS, "requests wait that nobody answers"
    assert private_memory(root) - before < MEMORY_GROWTH


def _online(handle: Any) -> list[int]:
    return list(IDset(handle.rpc("groups.get", {"name": "broker.online"}, nodeid=0).get()["members"]))
