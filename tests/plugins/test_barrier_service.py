"""Barriers across ranks, by the blocking and the asynchronous handle (flux.Flux.barrier); the heartbeat's keys."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator

import pytest

import flux
from flux.errors import FluxError
from flux.testing import Instance

RunningInstance = Callable[..., Instance]


@pytest.fixture
def clients(instance: RunningInstance) -> Iterator[list[flux.Flux]]:
    running = instance(size=3)
    handles = [flux.Flux(running.uri_of(rank)) for rank in range(3)]
    yield handles
    for handle in handles:
        handle.close()


def served(handle: flux.Flux) -> None:
    """Wait until what the handle has asked for is known on its own rank, and on rank 0."""
    handle.rpc("barrier.ping", {}).get()
    handle.rpc("barrier.ping", {}, nodeid=0).get()


def test_nobody_goes_on_before_the_last_has_come(clients: list[flux.Flux]) -> None:
    for round in range(2):  # a name can be used again
        early = [handle.barrier("meet", 3) for handle in clients[:2]]
        for handle in clients[:2]:
            served(handle)
        assert not any(future.is_ready() for future in early), round
        clients[2].barrier("meet", 3).get()
        for future in early:
            future.get()


def test_asynchronous_handles_meet_blocking_ones(instance: RunningInstance, clients: list[flux.Flux]) -> None:
    blocking = clients[0].barrier("mixed", 2)

    async def enter() -> None:
        handle = await flux.AsyncFlux.open(instance(size=3).uri_of(1))
        await handle.barrier("mixed", 2)
        handle.close()

    asyncio.run(enter())
    blocking.get()


def refused(code: int, action: Callable[[], object]) -> None:
    with pytest.raises(FluxError) as caught:
        action()
    assert caught.value.errno == code


def test_wrong_requests_are_refused_and_disturb_nobody(clients: list[flux.Flux]) -> None:
    first = clients[0].barrier("strict", 2)
    served(clients[0])
    refused(errno.EEXIST, lambda: clients[0].barrier("strict", 2).get())
    refused(errno.EINVAL, lambda: clients[1].barrier("strict", 3).get())
    refused(errno.EINVAL, lambda: clients[1].barrier("strict", 0).get())
    refused(errno.EINVAL, lambda: clients[1].barrier("", 1).get())
    clients[1].barrier("strict", 2).get()
    first.get()


def test_name_is_made_up_in_a_job_only(clients: list[flux.Flux], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_JOB_ID", raising=False)
    refused(errno.EINVAL, lambda: clients[0].barrier(None, 1))
    monkeypatch.setenv("FLUX_JOB_ID", "f1234")
    futures = [handle.barrier(None, 2) for handle in clients[:2] for _ in range(2)]
    for future in futures:
        future.get()


def test_client_that_leaves_cancels_the_barrier_it_is_in(instance: RunningInstance, clients: list[flux.Flux]) -> None:
    with flux.Flux(instance(size=3).uri_of(2)) as leaver:
        leaver.barrier("left", 3)
        served(leaver)
        waiting = clients[1].barrier("left", 3)
        served(clients[1])
    refused(errno.ECANCELED, lambda: waiting.wait_for(60).get())


def test_heartbeat_says_its_times(clients: list[flux.Flux]) -> None:
    for handle in clients:
        stats = handle.rpc("heartbeat.stats-get").get()
        assert stats["period"] == 2.0 and stats["timeout"] == 300.0 and stats["warn_thresh"] == 3


def test_rank_that_hears_no_heartbeat_complains(tmp_path: object) -> None:
    with Instance(2, attrs={"log-stderr-level": "-1"}) as running, flux.Flux(running.uri_of(1)) as handle:
        follow = handle.rpc("log.dmesg", {"follow": True, "nobacklog": True}, flags=2)
        assert (
            running.run("flux", "module", "reload", "heartbeat", "period=10ms", "timeout=infinity", rank=1).returncode
            == 0
        )
        assert running.run("flux", "module", "remove", "heartbeat").returncode == 0
        while "no heartbeat for" not in (follow.get_str() or ""):
            follow.reset()


def test_heartbeat_refuses_times_that_make_no_sense(instance: RunningInstance) -> None:
    running = instance(size=3)
    running.run("flux", "module", "remove", "heartbeat", rank=2)
    for words in ("period=0", "period=infinity", "timeout=soon", "warn_thresh=0"):
        result = running.run("flux", "module", "load", "heartbeat", words, rank=2)
        assert (result.returncode, words.partition("=")[0] in result.stderr) == (1, True), result.stderr
    assert running.run("flux", "module", "load", "heartbeat", rank=2).returncode == 0
