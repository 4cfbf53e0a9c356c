"""Modules of one broker hand each other messages by reference, in order, and only once they are ready."""

from __future__ import annotations

import asyncio
import errno

import pytest

from flux import message
from flux.message import EVENT, REQUEST, Message
from flux_kernel.link import HELD_LIMIT, ModuleLink
from flux_kernel.switch import Switch


async def turns() -> None:
    """Let the loop do what is due."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


def test_a_message_between_modules_is_never_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args: object) -> None:
        raise AssertionError("a message within the broker was converted")

    for name in ("_header", "decode_parts", "_encode_json", "_decode_json"):
        monkeypatch.setattr(message, name, never)
    payload = {"big": ["x"] * 100}
    answers: list[object] = []

    async def main() -> None:
        switch = Switch(0, 1, lambda _level, _text: None)
        a, b = (ModuleLink(name * 8, 100, switch.receive) for name in "ab")
        for name, link in (("a", a), ("b", b)):
            switch.attach(link)
            switch.add_service(name, link)
            link.open()
        b.receive = lambda msg: b.route(msg.respond({"same": msg.payload}))
        a.receive = lambda msg: answers.append(msg.payload["same"])
        a.route(Message(REQUEST, "b.x", payload, aux=0, matchtag=1, routes=[]))
        await turns()

    asyncio.run(main())
    assert answers == [payload]
    assert answers[0] is payload


def test_requests_and_events_wait_until_the_module_is_ready() -> None:
    async def main() -> list[str]:
        switch = Switch(0, 1, lambda _level, _text: None)
        link = ModuleLink("u" * 8, 100, switch.receive)
        switch.attach(link)
        switch.add_service("a", link)
        switch.subscribe("", link)
        got: list[str] = []
        link.receive = lambda msg: got.append(msg.topic)
        for i in range(3):
            link.route(Message(REQUEST, f"a.{i}", aux=0, matchtag=i + 1, routes=[]))
            link.route(Message(EVENT, f"event.{i}"))
        await turns()
        assert got == []
        assert link.queued == 6
        link.open()
        link.route(Message(REQUEST, "a.last", aux=0, matchtag=9, routes=[]))
        await turns()
        return got

    assert asyncio.run(main()) == ["a.0", "event.0", "a.1", "event.1", "a.2", "event.2", "a.last"]


def test_a_closed_link_takes_nothing_more() -> None:
    async def main() -> list[str]:
        switch = Switch(0, 1, lambda _level, _text: None)
        link = ModuleLink("u" * 8, 100, switch.receive)
        switch.attach(link)
        switch.add_service("a", link)
        got: list[str] = []
        link.receive = lambda msg: got.append(msg.topic)
        link.open()
        link.route(Message(REQUEST, "a.x", aux=0, matchtag=1, routes=[]))
        link.close()
        await turns()
        return got

    assert asyncio.run(main()) == []


def test_a_module_that_never_starts_does_not_eat_the_brokers_memory() -> None:
    answers: list[Message] = []

    async def main() -> None:
        switch = Switch(0, 1, lambda _level, _text: None)
        asker, slow = (ModuleLink(name * 8, 100, switch.receive) for name in "as")
        for name, link in (("asker", asker), ("slow", slow)):
            switch.attach(link)
            switch.add_service(name, link)
        asker.receive = answers.append
        for tag in range(1, HELD_LIMIT + 3):
            asker.route(Message(REQUEST, "slow.x", aux=message.NODEID_ANY, matchtag=tag, routes=[]))
        await turns()
        assert slow.queued == HELD_LIMIT

    asyncio.run(main())
    assert [(answer.errnum, answer.matchtag) for answer in answers] == [
        (errno.ENOBUFS, HELD_LIMIT + 1),
        (errno.ENOBUFS, HELD_LIMIT + 2),
    ]
