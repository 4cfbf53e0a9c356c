"""Attributes, log, events, configuration and groups as clients see them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.testing import Instance

MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=3, args=MINIMAL, attrs={"tbon.fanout": "1", "vendor.site": "here"})


def refused(errnum: int, call: Callable[[], Any]) -> str:
    with pytest.raises(FluxError) as caught:
        call()
    assert caught.value.errno == errnum
    return str(caught.value)


def test_attributes(running: Instance) -> None:
    handle = running.handle(2)
    assert (handle.attr_get("rank"), handle.attr_get("size"), handle.attr_get("vendor.site")) == ("2", "3", "here")
    assert handle.attr_get("security.owner") == str(os.getuid())
    assert handle.attr_get("version") == "0.88.0"
    names = handle.rpc("attr.list").get()["names"]
    assert {"rank", "local-uri", "broker.pid", "tbon.level", "hostlist"} <= set(names)
    refused(errno.EPERM, lambda: handle.attr_set("rank", "1"))
    refused(errno.EINVAL, lambda: handle.attr_set("broker.rc2_none", "1"))
    assert "log-level" in refused(errno.ENOENT, lambda: handle.attr_set("log-levle", "1"))
    refused(errno.ENOENT, lambda: handle.attr_get("vendor.nothing"))
    handle.attr_set("test.mine", "42")
    assert handle.attr_get("test.mine") == "42"
    handle.rpc("attr.rm", {"name": "test.mine"}).get()
    refused(errno.ENOENT, lambda: handle.attr_get("test.mine"))
    assert "name" in refused(errno.EPROTO, lambda: handle.rpc("attr.get", {"nmae": "x"}).get())


def entries(handle: Any) -> list[str]:
    rpc = handle.rpc("log.dmesg", {"follow": False}, flags=FLUX_RPC_STREAMING)
    texts: list[str] = []
    while True:
        try:
            texts.append(rpc.get_str())
        except FluxError as exc:
            assert exc.errno == errno.ENODATA
            return texts
        rpc.reset()


def test_log_keeps_own_lines_and_follows(running: Instance) -> None:
    handle, reader = running.handle(1), running.handle(1)
    handle.rpc("log.clear").get()
    follow = reader.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=FLUX_RPC_STREAMING)
    reader.rpc("broker.ping", {}).get()
    handle.log(6, "first\nsecond")
    assert "first" in follow.get_str()
    follow.reset()
    assert "second" in follow.get_str()
    follow.reset()
    follow.cancel("log.cancel")
    assert refused(errno.ENODATA, follow.get) is not None
    mine = [line for line in entries(handle) if line.endswith(("first", "second"))]
    assert [line[:5] for line in mine] == ["<48>1", "<48>1"]
    assert mine[0].split()[2:4] == ["1", handle.log_name]
    refused(errno.EPROTO, lambda: handle.rpc("log.append", b"nonsense").get())


def test_events_arrive_in_order_on_every_rank(running: Instance) -> None:
    listeners = [running.handle(rank) for rank in range(3)]
    for listener in listeners:
        listener.event_subscribe("test.")
    sender = running.handle(2)
    for i in range(50):
        sender.event_send("test.x", {"i": i})
    seq = sender.event_publish("test.last", {"i": 50})
    for listener in listeners:
        got = [listener.event_recv() for _ in range(51)]
        assert [msg.payload["i"] for msg in got] == list(range(51))
        assert [msg.sequence for msg in got] == list(range(seq - 50, seq + 1))
    listeners[0].event_unsubscribe("test.")
    refused(errno.ENOENT, lambda: listeners[0].event_unsubscribe("test."))
    refused(errno.EPROTO, lambda: sender.rpc("event.publish", {"topic": "a", "flags": 1}, nodeid=0).get())
    refused(errno.EPROTO, lambda: sender.rpc("event.publish", {"topic": "a", "flags": 0}, nodeid=1).get())
    refused(
        errno.EPROTO, lambda: sender.rpc("event.publish", {"topic": "a", "flags": 0, "payload": "?"}, nodeid=0).get()
    )


def test_a_client_can_serve(running: Instance) -> None:
    server, client = running.handle(1), running.handle(1)
    server.service_register("mine").get()
    assert "registered" in refused(errno.EEXIST, lambda: client.service_register("mine").get())
    refused(errno.EINVAL, lambda: client.service_register("a.b").get())

    def answer(handle: Any, watcher: Any, msg: Any, _args: Any) -> None:
        handle.respond(msg, {"twice": msg.payload["n"] * 2})
        watcher.stop()

    watcher = server.msg_watcher_create(answer, topic_glob="mine.double")
    watcher.start()
    rpc = client.rpc("mine.double", {"n": 21})
    server.reactor_run()
    assert rpc.get() == {"twice": 42}
    server.service_unregister("mine").get()
    refused(errno.ENOSYS, lambda: client.rpc("mine.double", {"n": 1}).get())


def test_groups_know_who_is_online(running: Instance) -> None:
    handle = running.handle(2)
    assert handle.rpc("groups.get", {"name": "broker.online"}, nodeid=0).get() == {"members": "0-2"}
    handle.rpc("groups.join", {"name": "mine"}).get()
    refused(errno.EEXIST, lambda: handle.rpc("groups.join", {"name": "mine"}).get())
    watch = running.handle().rpc("groups.get", {"name": "mine"}, nodeid=0, flags=FLUX_RPC_STREAMING)
    while watch.get() != {"members": "2"}:
        watch.reset()
    handle.rpc("groups.leave", {"name": "mine"}).get()
    while watch.get() != {"members": ""}:
        watch.reset()
    refused(errno.EPROTO, lambda: handle.rpc("groups.join", {"name": "x"}, nodeid=0).get())


def test_state_machine_services(running: Instance) -> None:
    handle = running.handle(2)
    handle.rpc("state-machine.wait").get()
    assert handle.rpc("state-machine.get").get()["state"] == "run"
    monitor = handle.rpc("state-machine.monitor", {"final": 5}, flags=FLUX_RPC_STREAMING)
    assert [answer["state"] for answer in monitor] == [5]
    with pytest.raises(FluxError, match="unknown event"):
        handle.rpc("state-machine.post", {"event": "nonsense"}).get()


def test_the_broker_decides_who_may_connect_not_the_socket(running: Instance) -> None:
    path = running.uri_of(1).removeprefix("local://")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o777


def test_configuration_is_served_on_every_rank(running: Instance) -> None:
    running.handle().rpc("config.load", {"site": {"name": "x"}}).get()
    assert running.handle().rpc("config.get").get() == {"site": {"name": "x"}}
    refused(errno.EINVAL, lambda: running.handle(1).rpc("config.load", {}).get())
