"""Handles and messages that do not fit into a socket's buffer: whole, in order, and never a hang."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.errors import FluxError
from flux.frames import encode_frame
from flux.message import RESPONSE, Message
from flux.testing import Instance

MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]
SIZES = [5, 3 << 20, 100_000, 40_000, 8 << 20, 0, 32 << 10]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=1, args=MINIMAL)


def pads() -> list[str]:
    return [os.urandom(size // 2).hex() for size in SIZES]


def test_large_requests_and_answers_come_whole_and_in_order(running: Instance) -> None:
    sent = pads()
    with flux.Flux(running.uri) as handle:
        answers: list[Any] = [handle.rpc("broker.ping", {"pad": pad}) for pad in sent]
        assert [answer.get()["pad"] for answer in answers] == sent


def test_an_asyncio_handle_takes_large_messages_too(running: Instance) -> None:
    sent = pads()

    async def run() -> list[str]:
        handle = await flux.AsyncFlux.open(running.uri)
        try:
            answers = [handle.rpc("broker.ping", {"pad": pad}) for pad in sent]
            return [(await answer)["pad"] for answer in answers]
        finally:
            handle.close()

    assert asyncio.run(asyncio.wait_for(run(), 60)) == sent


def test_a_wait_ends_in_time_when_a_large_message_stops_halfway() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\0")
        with flux.Flux(f"fd://{theirs.fileno()}") as handle:
            theirs.detach()
            answer = handle.rpc("any.thing", {})
            frame = encode_frame(Message(RESPONSE, "any.thing", bytes(1 << 20), matchtag=1, routes=[]))
            ours.settimeout(60)
            ours.sendall(frame[: 100 << 10])
            with pytest.raises(FluxError) as caught:
                answer.wait_for(0.1)
            assert caught.value.errno == errno.ETIMEDOUT
            ours.close()
            with pytest.raises(FluxError) as caught:
                answer.get()
            assert caught.value.errno == errno.ECONNRESET
