"""Handles whose broker goes away: those that end with it, and those that come back with it (flux_open(3))."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.errors import FluxError
from flux.message import EVENT, Message
from flux.testing import Instance

MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
PATIENCE = 60

Start = Callable[[], Instance]


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Start an instance whose socket is always at the same place."""
    started: list[Instance] = []

    def again() -> Instance:
        (tmp_path / "run").mkdir(exist_ok=True)
        attrs = {"rundir": f"{tmp_path}/run"}
        started.append(Instance(size=1, attrs=attrs, args=[MINIMAL]).start())
        return started[-1]

    yield again
    for instance in started:
        if instance.process.poll() is None:
            instance.stop()


def test_a_handle_that_does_not_reconnect_ends_with_the_broker(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri) as handle:
        handle.event_subscribe("x")
        instance.stop()
        with pytest.raises(FluxError, match="closed the connection") as caught:
            handle.event_recv()
        assert caught.value.errno == errno.ECONNRESET
        with pytest.raises(FluxError, match="closed the connection"):
            handle.rpc("broker.ping", {})


def test_a_reactor_that_waits_for_messages_ends_with_the_broker(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri) as handle:
        handle.event_subscribe("x")
        handle.msg_watcher_create(lambda *_: None, topic_glob="x*").start()
        instance.stop()
        with pytest.raises(FluxError, match="closed the connection"):
            handle.reactor_run()


def test_a_blocking_handle_comes_back_with_its_subscriptions_and_services(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri, reconnect=PATIENCE) as handle:
        uuid = handle.attr_get("broker.uuid")
        handle.event_subscribe("back.")
        handle.service_register("mine").get()
        handle.service_register("gone").get()
        handle.service_unregister("gone").get()
        call = handle.rpc("mine.never-answered")
        instance.kill()
        with pytest.raises(FluxError) as caught:
            call.get()
        assert caught.value.errno == errno.ECONNRESET
        second = start()
        assert handle.attr_get("broker.uuid") != uuid
        other = second.handle()
        other.event_publish("back.again", {"n": 1})
        assert handle.event_recv().payload == {"n": 1}
        assert other.rpc("gone.x").error_string() is None
        handle.msg_watcher_create(answer_once, topic_glob="mine.*").start()
        answer = other.rpc("mine.x", {"n": 2})
        handle.reactor_run()
        assert answer.get() == {"n": 2}


def answer_once(handle: Any, watcher: Any, msg: Any, _args: Any) -> None:
    handle.respond(msg, msg.payload)
    watcher.stop()


def test_a_reactor_goes_on_when_the_broker_is_back(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri, reconnect=PATIENCE) as handle:
        seen: list[str] = []
        handle.event_subscribe("tick.")

        def take(_handle: Any, watcher: Any, msg: Any, _args: Any) -> None:
            seen.append(msg.topic)
            watcher.stop()

        handle.msg_watcher_create(take, topic_glob="tick.*").start()
        instance.stop()
        second = start().handle()

        def publish(_handle: Any, _watcher: Any, _revents: Any, _args: Any) -> None:
            if not seen:
                second.event_publish("tick.1")

        with handle.timer_watcher_create(0.1, publish, repeat=0.1) as timer:
            while not seen:
                handle.get_reactor().run_once(30)
            timer.stop()
        assert seen == ["tick.1"]


def test_a_handle_gives_up_when_its_patience_ends(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri, reconnect=0.2) as handle:
        handle.event_subscribe("x")
        instance.stop()
        with pytest.raises(FluxError, match=r"connecting to|closed the connection"):
            handle.event_recv()


def test_reconnect_by_hand(start: Start) -> None:
    instance = start()
    with flux.Flux(instance.uri) as handle:
        handle.event_subscribe("hand.")
        handle.service_register("mine").get()
        call = handle.rpc("mine.never-answered")
        handle.reconnect()
        with pytest.raises(FluxError, match="reconnects") as caught:
            call.get()
        assert caught.value.errno == errno.ECONNRESET
        handle.event_publish("hand.x")
        assert handle.event_recv().topic == "hand.x"


def test_an_asyncio_handle_comes_back(start: Start) -> None:
    async def use() -> None:
        loop = asyncio.get_running_loop()
        got: asyncio.Future[str] = loop.create_future()

        def take(msg: Message) -> None:
            if msg.type == EVENT:
                got.set_result(msg.topic)

        instance = await loop.run_in_executor(None, start)
        handle = await flux.AsyncFlux.open(instance.uri, take, reconnect=PATIENCE)
        await handle.event_subscribe("back.")
        await handle.service_register("mine")
        call = handle.rpc("mine.never-answered")
        await loop.run_in_executor(None, instance.kill)
        with pytest.raises(FluxError) as caught:
            await call
        assert caught.value.errno == errno.ECONNRESET
        held = handle.rpc("broker.ping", {"n": 1})
        await loop.run_in_executor(None, start)
        assert (await asyncio.wait_for(held.wait(), PATIENCE)) is None
        assert held.get()["n"] == 1
        handle.event_send("back.now")
        assert await asyncio.wait_for(got, PATIENCE) == "back.now"
        handle.close()

    asyncio.run(use())
