"""Futures: callbacks, and futures made of others."""

from __future__ import annotations

import errno
import math
from typing import Any

import pytest

from flux.errors import FluxError
from flux.future import Future, FutureExt, WaitAllFuture
from flux.testing import Instance


@pytest.fixture
def running(minimal: Instance) -> Instance:
    return minimal


def test_then_arguments_and_order(handle: Any) -> None:
    calls: list[tuple[int, str]] = []
    for i in range(5):
        rpc = handle.rpc("broker.ping", {"seq": i})
        rpc.then(lambda future, tag, mark="": calls.append((future.get()["seq"], tag + mark)), "a", mark="b")
    with pytest.raises(FluxError, match="one callback"):
        rpc.then(print)
    handle.reactor_run()
    assert calls == [(i, "ab") for i in range(5)]


@pytest.mark.parametrize("seconds", [math.inf, 1e30])
def test_patience_without_end(handle: Any, seconds: float) -> None:
    handle.rpc("broker.ping", {"seq": 1}).wait_for(seconds)
    answers: list[int] = []
    handle.rpc("broker.ping", {"seq": 2}).then(lambda future: answers.append(future.get()["seq"]), timeout=seconds)
    handle.reactor_run()
    assert answers == [2]


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
