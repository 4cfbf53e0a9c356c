"""The handle as scripts use it: RPCs, messages, and the asyncio form."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.constants import (
    FLUX_MSGTYPE_EVENT,
    FLUX_MSGTYPE_REQUEST,
    FLUX_O_NONBLOCK,
    FLUX_ROLE_USER,
    FLUX_RPC_NORESPONSE,
    FLUX_RPC_STREAMING,
    FLUX_RQ_HEAD,
    FLUX_RQ_TAIL,
)
from flux.errors import FluxError
from flux.message import EVENT, REQUEST, Message
from flux.rpc import RPC
from flux.testing import Instance


@pytest.fixture
def running(minimal: Instance) -> Instance:
    return minimal


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
    assert handle.recv(flags=FLUX_O_NONBLOCK) is None


def test_messages_are_put_back(handle: Any) -> None:
    events = [handle.event_create(topic, {"n": 1}) for topic in ("q.first", "q.second", "q.third")]
    handle.requeue(events[1])
    handle.requeue(events[2], FLUX_RQ_TAIL)
    handle.requeue(events[0], FLUX_RQ_HEAD)
    assert [handle.recv(flags=FLUX_O_NONBLOCK).topic for _ in events] == ["q.first", "q.second", "q.third"]
    with pytest.raises(FluxError, match="FLUX_RQ_HEAD"):
        handle.requeue(events[0], 0)
    request = Message(REQUEST, "mine.x", {}, matchtag=7)
    handle.requeue(request)
    assert handle.recv(match_tag=8, flags=FLUX_O_NONBLOCK) is None
    assert handle.recv(match_tag=7) is request


def test_a_handle_whose_broker_is_gone(kernel_only: list[str]) -> None:
    with Instance(1, args=kernel_only) as short:
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
