"""The overlay of real instances: trees of several shapes, and brokers that are killed."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.testing import Instance, runs, wait_for

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

Start = Callable[..., Instance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an instance of nothing but the broker's own services."""
    running: list[Instance] = []
    composition = tmp_path / "plugins.toml"
    composition.write_text(COMPOSITION)

    def start(size: int, *args: str, **attrs: str) -> Instance:
        named = {name.replace("__", "."): value for name, value in attrs.items()}
        instance = Instance(size, named, [f"--plugins={composition}", *args])
        running.append(instance.start())
        return instance

    yield start
    for instance in running:
        instance.stop()


def ping(instance: Instance, source: int, target: int) -> int:
    return int(instance.handle(source).rpc("broker.ping", {"seq": 1}, nodeid=target).get()["rank"])


def members(handle: Any, group: str) -> str:
    return str(handle.rpc("groups.get", {"name": group}, nodeid=0).get()["members"])


def pid_of(instance: Instance, rank: int) -> int:
    return int(instance.handle(rank).attr_get("broker.pid"))


@pytest.mark.parametrize(
    ("size", "args", "attrs", "scheme"),
    [
        (4, (), {}, "ipc://"),
        (6, (), {"tbon__fanout": "1"}, "ipc://"),
        (7, (), {"tbon__topo": "kary:2", "tbon__prefertcp": "1"}, "tcp://"),
        (5, ("--test-pmi-clique=per-broker",), {"tbon__topo": "binomial"}, "tcp://"),
        (5, ("--test-pmi-clique=none",), {"tbon__topo": "mincrit:2"}, "tcp://"),
    ],
)
def test_every_broker_reaches_every_other(
    start: Start, size: int, args: tuple[str, ...], attrs: dict[str, str], scheme: str
) -> None:
    instance = start(size, *args, **attrs)
    for source in range(size):
        assert [ping(instance, source, target) for target in range(size)] == list(range(size))
    assert instance.handle().attr_get("tbon.endpoint").startswith(scheme)


def test_attributes_describe_the_tree(start: Start) -> None:
    instance = start(7, tbon__fanout="2")
    root, router, leaf = (instance.handle(rank) for rank in (0, 2, 6))
    assert [h.attr_get("tbon.level") for h in (root, router, leaf)] == ["0", "1", "2"]
    assert [h.attr_get("tbon.descendants") for h in (root, router, leaf)] == ["6", "2", "0"]
    assert {h.attr_get("tbon.maxlevel") for h in (root, router, leaf)} == {"2"}
    assert {h.attr_get("tbon.topo") for h in (root, router, leaf)} == {"kary:2"}
    assert leaf.attr_get("hostlist") == root.attr_get("hostlist")
    assert len(set(root.attr_get("hostlist").split(","))) == 1
    assert leaf.attr_get("tbon.parent-endpoint") == router.attr_get("tbon.endpoint")
    with pytest.raises(FileNotFoundError):
        leaf.attr_get("tbon.endpoint")
    with pytest.raises(FileNotFoundError):
        root.attr_get("tbon.parent-endpoint")


def test_topology_and_health(start: Start) -> None:
    instance = start(4, tbon__fanout="2")
    handle = instance.handle()
    tree = handle.rpc("overlay.topology", {"rank": 1}).get()
    assert tree == {"rank": 1, "size": 2, "children": [{"rank": 3, "size": 1, "children": []}]}
    with pytest.raises(FileNotFoundError, match="rank 3 is not rank 0 or a child of it"):
        handle.rpc("overlay.topology", {"rank": 3}).get()
    health = handle.rpc("overlay.health", nodeid=0).get()
    assert (health["rank"], health["status"]) == (0, "full")
    assert [(c["rank"], c["status"]) for c in health["children"]] == [(1, "full"), (2, "full")]
    stats = handle.rpc("overlay.stats-get").get()
    assert (stats["child-count"], stats["child-connected"], stats["parent-count"]) == (2, 2, 0)


def wait_for_run(states: Any) -> None:
    """Read a stream of broker states until the broker runs: rank 0 does so before those below it."""
    while states.get()["state"] < 5:
        states.reset()
    states.reset()


def test_a_killed_router_takes_its_subtree_and_answers_its_callers(start: Start) -> None:
    options = {"tbon__fanout": "2", "tbon__reparent-timeout": "0"}
    instance = start(7, "--test-exit-mode=leader", **options)
    handle = instance.handle()
    watch: Any = handle.rpc("overlay.monitor", nodeid=0, flags=FLAG_STREAMING)
    waiting = handle.rpc("state-machine.monitor", {"final": 11}, 6, FLAG_STREAMING)
    wait_for_run(waiting)
    pids = [pid_of(instance, rank) for rank in (2, 5, 6)]
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(FluxError) as caught:
        while True:
            waiting.get()
            waiting.reset()
    assert caught.value.errno == errno.EHOSTUNREACH
    assert watch.get() == {"rank": 2, "status": "lost", "torpid": False, "gone": "2,5-6"}
    wait_for(lambda: members(handle, "broker.online") == "0-1,3-4", what="rank 2 and those below leave the group")
    for rank in (2, 5, 6):
        with pytest.raises(FluxError) as caught:
            ping(instance, 0, rank)
        assert caught.value.errno == errno.EHOSTUNREACH
    assert ping(instance, 0, 4) == 4
    health = handle.rpc("overlay.health", nodeid=0).get()
    assert health["status"] == "degraded"
    lost = next(child for child in health["children"] if child["rank"] == 2)
    assert (lost["status"], lost["error"]) == ("lost", "connection closed")
    wait_for(lambda: not any(runs(pid) for pid in pids))


def test_a_subtree_is_disconnected_by_request(start: Start) -> None:
    instance = start(4, "--test-exit-mode=leader", tbon__fanout="2")
    pids = [pid_of(instance, rank) for rank in (1, 3)]
    handle = instance.handle()
    with pytest.raises(FluxError, match="rank 3 is not a child of rank 0"):
        handle.rpc("overlay.disconnect-subtree", {"rank": 3}, nodeid=0).get()
    handle.rpc("overlay.disconnect-subtree", {"rank": 1}, nodeid=0).get()
    with pytest.raises(FileNotFoundError, match="lost already"):
        handle.rpc("overlay.disconnect-subtree", {"rank": 1}, nodeid=0).get()
    wait_for(lambda: not any(runs(pid) for pid in pids))
    assert ping(instance, 0, 2) == 2


def change_of(watch: Any, rank: int, **expected: Any) -> dict[str, Any]:
    """The next change of a child, as overlay.monitor tells it, that has these members; others may change as well."""
    while True:
        change: dict[str, Any] = watch.get()
        watch.reset()
        if change["rank"] == rank and expected.items() <= change.items():
            return change


def test_a_stopped_broker_is_torpid_and_recovers(start: Start) -> None:
    instance = start(3, tbon__torpid_min="0.1s", tbon__torpid_max="0.5s")
    handle = instance.handle()
    watch: Any = handle.rpc("overlay.monitor", nodeid=0, flags=FLAG_STREAMING)
    pid = pid_of(instance, 2)
    os.kill(pid, signal.SIGSTOP)
    try:
        torpid = change_of(watch, 2, torpid=True)
        assert (torpid["status"], torpid["gone"]) == ("full", "")
        wait_for(lambda: members(handle, "broker.torpid") == "2")
    finally:
        os.kill(pid, signal.SIGCONT)
    lively = change_of(watch, 2, torpid=False)
    assert (lively["status"], lively["gone"]) == ("full", "")
    wait_for(lambda: members(handle, "broker.torpid") == "")


def test_an_instance_ends_cleanly_and_leaves_nothing(start: Start) -> None:
    instance = start(16, tbon__fanout="2")
    rundir, pids = Path(instance.rundir), [pid_of(instance, rank) for rank in range(16)]
    assert (rundir / "tbon-0").is_socket()
    assert instance.stop() == 0
    assert not rundir.exists()
    assert not any(runs(pid) for pid in pids)


def test_a_wrong_topology_stops_the_start_with_its_reason(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FluxError):
        start(3, tbon__topo="ring")
    assert "unknown topology 'ring': use kary, mincrit, binomial, custom" in capfd.readouterr().err
