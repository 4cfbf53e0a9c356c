"""The handle as scripts use it: RPCs, futures, the reactor, watchers, and the asyncio form."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_ROLE_USER,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
)
from flux.errors import FluxError
from flux.future import Future, FutureExt, WaitAllFuture
from flux.message import EVENT, Message
from flux.rpc import RPC
from flux.testing import Instance

MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=1, args=MINIMAL)


@pytest.fixture
def handle(running: Instance) -> Any:
    with flux.Flux(running.uri) as opened:
        yield opened


def test_import_flux_is_light() -> None:
    script = "import flux, sys; flux.Flux; print([m for m in ('asyncio', 'zmq') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_the_system_instance_is_the_default_one(
    running: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").symlink_to(running.uri.removeprefix("local://"))
    monkeypatch.setattr("flux.installation.RUNDIR", str(tmp_path))
    monkeypatch.delenv("FLUX_URI", raising=False)
    with flux.Flux() as handle:
        assert handle.attr_get("local-uri") == running.uri


@pytest.mark.parametrize(
    ("uri", "errnum", "says"),
    [
        (None, errno.ENOENT, "FLUX_URI is not set"),
        ("nonsense", errno.EINVAL, "is no URI"),
        ("local:///nonexistent/socket", errno.ENOENT, "/nonexistent/socket"),
        ("local://" + "x" * 200, errno.EINVAL, "longer than 107"),
        ("fd://x", errno.EINVAL, "not an open socket"),
        ("carrier-pigeon://x", errno.ENOENT, "carrier-pigeon"),
    ],
)
def test_what_cannot_be_opened(uri: str | None, errnum: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_URI", raising=False)
    monkeypatch.setenv("FLUX_LOCAL_CONNECTOR_RETRY_COUNT", "0")
    with pytest.raises(FluxError, match=says) as caught:
        flux.Flux(uri)
    assert caught.value.errno == errnum


def test_answers_come_to_the_futures_they_belong_to(handle: Any) -> None:
    rpcs = [handle.rpc("broker.ping", {"seq": i}) for i in range(100)]
    assert [rpc.get()["seq"] for rpc in reversed(rpcs)] == list(range(99, -1, -1))
    assert handle.session.stats()["pending"] == 0
    assert handle.session.stats()["matchtags"] == 100
    handle.rpc("broker.ping", {}).get()
    assert handle.session.stats()["matchtags"] == 100, "match tags are used again (RFC 6)"


def test_errors_are_exceptions_of_their_kind(handle: Any) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        handle.rpc("attr.get", {"name": "nothing"}).get()
    assert isinstance(caught.value, FluxError)
    assert (caught.value.errno, caught.value.topic) == (errno.ENOENT, "attr.get")


def test_timeouts(handle: Any) -> None:
    rpc = handle.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=FLUX_RPC_STREAMING)
    assert not rpc.is_ready()
    with pytest.raises(TimeoutError):
        rpc.wait_for(0.01)
    late: list[str | None] = []
    rpc.then(lambda future: late.append(future.error_string()), timeout=0.01)
    handle.reactor_run()
    assert late == ["no answer within 0.01s"]


def test_noresponse_requests_are_sent_and_forgotten(handle: Any) -> None:
    handle.rpc("event.publish", {"topic": "x", "flags": 0}, flags=FLUX_RPC_NORESPONSE)
    assert handle.session.stats()["pending"] == 0


def test_streams(handle: Any) -> None:
    handle.log(6, "one")
    rpc = handle.rpc("log.dmesg", {"follow": False}, flags=FLUX_RPC_STREAMING)
    seen: list[str | None] = []

    def more(future: Any) -> None:
        try:
            seen.append(future.get_str())
        except FluxError as exc:
            assert exc.errno == errno.ENODATA
            return
        future.reset()

    rpc.then(more)
    assert handle.reactor_run() == 0
    assert any(str(line).endswith("one") for line in seen)


def test_then_arguments_and_order(handle: Any) -> None:
    calls: list[tuple[int, str]] = []
    for i in range(5):
        rpc = handle.rpc("broker.ping", {"seq": i})
        rpc.then(lambda future, tag, mark="": calls.append((future.get()["seq"], tag + mark)), "a", mark="b")
    with pytest.raises(FluxError, match="one callback"):
        rpc.then(print)
    handle.reactor_run()
    assert calls == [(i, "ab") for i in range(5)]


def test_composite_futures(handle: Any) -> None:
    both = WaitAllFuture([handle.rpc("broker.ping", {"seq": i}) for i in range(3)])
    both.push(handle.rpc("attr.get", {"name": "size"}), name="size")
    done: list[Any] = []
    both.then(lambda future: done.extend(child.get() for child in future.get()))
    handle.reactor_run()
    assert [answer["seq"] for answer in done[:3]] == [0, 1, 2]
    assert both.get_child("size").get()["value"] == "1"
    with pytest.raises(FileNotFoundError):
        both.get_child("rank")


def test_composite_futures_are_got_without_a_reactor(handle: Any) -> None:
    both = WaitAllFuture([handle.rpc("broker.ping", {"seq": i}) for i in range(3)])
    assert [child.get()["seq"] for child in both.get()] == [0, 1, 2]
    chain = handle.rpc("broker.ping", {"seq": 1}).and_then(
        lambda first: handle.rpc("broker.ping", {"seq": first.get()["seq"] + 1})
    )
    assert WaitAllFuture([chain]).get()[0].get()["seq"] == 2
    with pytest.raises(FluxError) as caught:
        handle.rpc("broker.nothing").and_then(lambda _: handle.rpc("broker.ping", {"seq": 1})).get()
    assert caught.value.errno == errno.ENOSYS
    handle.reactor_run()


def test_chained_futures_call_back(handle: Any) -> None:
    chain = handle.rpc("broker.ping", {"seq": 1}).and_then(
        lambda first: handle.rpc("broker.ping", {"seq": first.get()["seq"] + 1})
    )
    done: list[Any] = []
    chain.then(lambda future: done.append(future.get()["seq"]))
    handle.reactor_run()
    assert done == [2]


def test_futures_by_hand() -> None:
    future = Future()
    with pytest.raises(FluxError, match="nothing drives"):
        future.get()
    future.fulfill(7)
    assert future.get() == 7
    failed = Future()
    failed.fulfill_error(errno.EBUSY, "later")
    assert failed.error_string() == "later"


def test_watchers(handle: Any) -> None:
    log: list[Any] = []
    read, write = os.pipe()

    def tick(flux_handle: Any, watcher: Any, _events: int, args: Any) -> None:
        log.append(args)
        if len(log) == 3:
            watcher.stop()
            os.write(write, b"x")

    def readable(flux_handle: Any, watcher: Any, fd: int, _events: int, _args: Any) -> None:
        log.append(os.read(fd, 1))
        watcher.stop()
        os.kill(os.getpid(), signal.SIGUSR1)

    def signalled(flux_handle: Any, watcher: Any, signum: int, _args: Any) -> None:
        log.append(signum)
        watcher.stop()

    handle.timer_watcher_create(0.001, tick, repeat=0.001, args="tick").start()
    handle.fd_watcher_create(read, readable).start()
    handle.signal_watcher_create(signal.SIGUSR1, signalled).start()
    handle.reactor_run()
    assert log == ["tick", "tick", "tick", b"x", signal.SIGUSR1]
    os.close(read)
    os.close(write)


def test_a_signal_that_came_twice_is_told_of_twice(handle: Any) -> None:
    log = []

    def signalled(_handle: Any, watcher: Any, signum: int, _args: Any) -> None:
        log.append(signum)
        if len(log) == 2:
            watcher.stop()

    handle.signal_watcher_create(signal.SIGUSR1, signalled).start()
    for _ in range(3):
        signal.raise_signal(signal.SIGUSR1)
    handle.reactor_run()
    assert log == [signal.SIGUSR1] * 2


def test_watchers_of_the_loop_bring_in_work_from_elsewhere(handle: Any) -> None:
    work, log = [1, 2, 3], []
    idle = handle.idle_watcher_create()

    def prepare(*_: Any) -> None:
        log.append("prepare")
        if work:
            idle.start()

    def check(_handle: Any, watcher: Any, _events: int, args: Any) -> None:
        log.append((args, work.pop()))
        idle.stop()
        if not work:
            watcher.stop()
            first.stop()

    first = handle.prepare_watcher_create(prepare).start()
    handle.check_watcher_create(check, args="check").start()
    handle.reactor_run()
    assert log == ["prepare", ("check", 3), "prepare", ("check", 2), "prepare", ("check", 1)]


def test_a_watcher_that_does_not_count_lets_the_reactor_end(handle: Any) -> None:
    log: list[str] = []
    timer = handle.timer_watcher_create(3600, lambda *_: log.append("late")).start().unref()
    with handle.timer_watcher_create(0.001, lambda *_: log.append("soon")):
        handle.reactor_run()
    assert log == ["soon"]
    timer.ref().reset(after=0.001)
    handle.reactor_run()
    assert log == ["soon", "late"]
    timer.stop()


def test_configuration_by_key(handle: Any) -> None:
    assert handle.conf_get() == handle.rpc("config.get").get()
    assert handle.conf_get("no.such.key", default=3) == 3


def test_attributes_can_be_removed(handle: Any) -> None:
    handle.attr_set("test.attr", "x")
    handle.attr_remove("test.attr")
    with pytest.raises(FileNotFoundError):
        handle.attr_get("test.attr")


def test_message_watchers_and_recv(handle: Any) -> None:
    handle.event_subscribe("w.")
    got: list[str] = []

    def event(flux_handle: Any, watcher: Any, msg: Message, _args: Any) -> None:
        got.append(msg.topic)
        if msg.topic == "w.end":
            watcher.stop()

    handle.msg_watcher_create(event, FLUX_MSGTYPE_EVENT, "w.*").start()
    for topic in ("w.a", "w.b", "w.end"):
        handle.event_send(topic)
    handle.reactor_run()
    assert got == ["w.a", "w.b", "w.end"]
    handle.event_send("w.c", {"x": 1})
    assert handle.recv(EVENT).payload == {"x": 1}
    assert handle.recv(flags=4) is None


def test_exceptions_in_callbacks_reach_the_caller(handle: Any) -> None:
    def fail(_future: Any) -> None:
        raise ValueError("from the callback")

    handle.rpc("broker.ping", {}).then(fail)
    with pytest.raises(ValueError, match="from the callback"):
        handle.reactor_run()
    handle.rpc("broker.ping", {}).then(lambda _future: handle.reactor_stop_error())
    with pytest.raises(FluxError):
        handle.reactor_run()


def test_a_handle_whose_broker_is_gone() -> None:
    with Instance(1, args=MINIMAL) as short:
        handle = flux.Flux(short.uri)
        pending = handle.rpc("log.dmesg", {"follow": True}, flags=FLUX_RPC_STREAMING)
        pending.get_raw()
    while pending.error_string() is None:
        pending.reset()
        pending.wait_for()
    with pytest.raises(FluxError):
        handle.rpc("broker.ping", {}).get()
    handle.close()


class Guest(RPC):
    """A request as another user would send it."""

    def __init__(self, handle: Any, topic: str) -> None:
        start = handle.session.start_rpc

        def start_as_guest(rpc: Any, msg: Message) -> None:
            msg.userid, msg.rolemask = 4321, FLUX_ROLE_USER
            start(rpc, msg)

        handle.session.start_rpc = start_as_guest
        try:
            super().__init__(handle, topic, {})
        finally:
            handle.session.start_rpc = start


@pytest.mark.parametrize(("rolemask", "answer"), [(None, "guests"), (FLUX_ROLE_USER, "served")])
def test_guests_are_served_where_that_is_said(handle: Any, rolemask: int | None, answer: str) -> None:
    handle.service_register("mine").get()
    serve = handle.msg_watcher_create(
        lambda h, _watcher, msg, _args: h.respond(msg, {"answer": "served"}),
        type_mask=FLUX_MSGTYPE_REQUEST,
        topic_glob="mine.*",
        rolemask=rolemask,
    )
    answers: list[str] = []

    def answered(future: Any) -> None:
        try:
            answers.append(str(future.get()))
        except PermissionError as exc:
            answers.append(str(exc))
        serve.stop()

    with serve:
        Guest(handle, "mine.x").then(answered)
        handle.reactor_run()
    handle.service_unregister("mine").get()
    assert answer in answers[0]


def test_a_future_that_begins_when_it_is_wanted(handle: Any) -> None:
    log: list[str] = []

    def begin(future: Any, rank: int, seq: int) -> None:
        log.append("begun")
        handle = future.get_flux()
        handle.rpc("broker.ping", {"seq": seq}, rank).then(lambda ping: future.fulfill(ping.get()["seq"]))

    later = FutureExt(begin, 0, seq=7, flux_handle=handle)
    assert log == []
    results: list[int] = []
    later.then(lambda future: results.append(future.get()))
    handle.reactor_run()
    assert (log, results, later.get()) == (["begun"], [7], 7)

    failing = FutureExt(lambda future: future.fulfill_error(errstr="not here"), flux_handle=handle)
    with pytest.raises(FileNotFoundError, match="not here"):
        failing.get()
    homeless = FutureExt(lambda future: future.fulfill(3))
    homeless.set_flux(handle)
    assert homeless.get() == 3


def test_loop_uri_sends_everything_back() -> None:
    handle = flux.Flux("loop://")
    handle.event_send("x", {"a": 1})
    assert handle.event_recv().payload == {"a": 1}


def test_asyncio_form(running: Instance) -> None:
    async def main() -> None:
        events: list[Message] = []
        handle = await flux.AsyncFlux.open(running.uri, on_message=events.append)
        answers = await asyncio.gather(*(handle.rpc("broker.ping", {"seq": i}) for i in range(50)))
        assert [answer["seq"] for answer in answers] == list(range(50))
        assert await handle.attr_get("size") == "1"
        with pytest.raises(PermissionError):
            await handle.rpc("attr.set", {"name": "rank", "value": "1"})
        await handle.event_subscribe("aio.")
        handle.event_send("aio.x", {"n": 1})
        async for text in handle.rpc("log.dmesg", {"follow": False}, flags=FLUX_RPC_STREAMING).messages():
            assert text.payload_str
        assert [msg.payload for msg in events if msg.type == EVENT] == [{"n": 1}]
        with pytest.raises(FluxError, match="await"):
            handle.rpc("broker.ping", {}).get()
        with pytest.raises(TimeoutError):
            stuck = handle.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=FLUX_RPC_STREAMING)
            stuck.expire(0.01)
            await stuck
        handle.close()

    asyncio.run(main())
