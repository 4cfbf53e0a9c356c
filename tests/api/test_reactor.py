"""The reactor of scripts, and its watchers."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

import flux
from flux.constants import FLUX_REACTOR_NOWAIT, FLUX_REACTOR_ONCE
from flux.errors import FluxError
from flux.testing import Instance


@pytest.fixture
def running(minimal: Instance) -> Instance:
    return minimal


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


def test_exceptions_in_callbacks_reach_the_caller(handle: Any) -> None:
    def fail(_future: Any) -> None:
        raise ValueError("from the callback")

    handle.rpc("broker.ping", {}).then(fail)
    with pytest.raises(ValueError, match="from the callback"):
        handle.reactor_run()
    handle.rpc("broker.ping", {}).then(lambda _future: handle.reactor_stop_error())
    with pytest.raises(FluxError):
        handle.reactor_run()


def test_one_turn_of_the_reactor(handle: Any) -> None:
    log: list[str] = []
    assert handle.reactor_run(flags=FLUX_REACTOR_ONCE) == 0, "nothing to wait for"
    with (
        handle.timer_watcher_create(0.001, lambda *_: log.append("soon")),
        handle.timer_watcher_create(3600, lambda *_: log.append("late")),
    ):
        assert handle.reactor_run(flags=FLUX_REACTOR_ONCE) == 1
        assert log == ["soon"]
        assert handle.reactor_run(flags=FLUX_REACTOR_NOWAIT) == 1
        assert log == ["soon"]


def test_who_runs_a_reactor(handle: Any) -> None:
    seen: list[tuple[bool, bool]] = []
    handle.timer_watcher_create(0, lambda *_: seen.append((handle.in_reactor(), flux.Flux.reactor_running()))).start()
    handle.reactor_run()
    seen.append((handle.in_reactor(), flux.Flux.reactor_running()))
    flux.Flux.reactor_enter()
    seen.append((handle.in_reactor(), flux.Flux.reactor_running()))
    flux.Flux.reactor_exit()
    assert seen == [(True, True), (False, False), (False, True)]


def test_a_reactor_is_kept_running_by_hand(handle: Any) -> None:
    log: list[str] = []

    def end(*_: Any) -> None:
        log.append("end")
        handle.reactor_decref()

    handle.reactor_incref()
    timer = handle.timer_watcher_create(0.001, end).start().unref()
    assert handle.reactor_run() == 0
    assert log == ["end"]
    timer.stop()
