"""`flux module trace` and `flux module debug --defer`: what passes between a module and its broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.testing import Instance, wait_for

KERNEL_TESTS = Path(__file__).parent.parent / "kernel"
GREETER = str(KERNEL_TESTS / "modules" / "greeter.py")
FLUX = os.path.join(os.path.dirname(sys.executable), "flux")


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=1, args=[f"--plugins={KERNEL_TESTS / 'kernel.toml'}"])


@pytest.fixture(params=[False, True], ids=["in-process", "isolated"])
def handle(running: Instance, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A handle on an instance that has the greeter."""
    with running.handle() as flux:
        flux.rpc("module.load", {"path": GREETER, "args": [], "exec": request.param}).get()
        yield flux
        flux.rpc("module.remove", {"name": "greeter"}).get()


def tracers(handle: Any) -> int:
    return int(handle.rpc("broker.stats-get").get()["tracers"])


@contextmanager
def tracer(running: Instance, handle: Any, *args: str) -> Iterator[Callable[[int], list[str]]]:
    """`flux module trace ARGS`; gives a function that reads lines of its output."""
    command = [FLUX, "module", "trace", *args]
    before = tracers(handle)
    with subprocess.Popen(command, env=running.env, stdout=subprocess.PIPE, text=True) as process:
        stdout = process.stdout
        assert stdout is not None
        try:
            wait_for(lambda: tracers(handle) == before + 1, what="the tracer is there")
            yield lambda count: [stdout.readline().rstrip("\n") for _ in range(count)]
        finally:
            process.send_signal(signal.SIGINT)
    wait_for(lambda: tracers(handle) == before, what="the tracer is gone")


def without_time(lines: list[str]) -> list[str]:
    return [line.partition(" ")[2] for line in lines]


def test_requests_and_responses_are_shown(running: Instance, handle: Any) -> None:
    with tracer(running, handle, "--topic=greeter.[hr]*", "greeter") as read:
        handle.rpc("greeter.hello", {"who": "world"}).get()
        with pytest.raises(FluxError):
            handle.rpc("greeter.refuse").get()
        assert without_time(read(4)) == [
            "greeter rx > greeter.hello [16]",
            "greeter tx < greeter.hello [24] success",
            "greeter rx > greeter.refuse [0]",
            "greeter tx < greeter.refuse [0] EEXIST",
        ]


def test_full_shows_payloads_and_error_texts(running: Instance, handle: Any) -> None:
    with tracer(running, handle, "--full", "--type=response,event", "-T", "greeter.*", "greeter", "log") as read:
        handle.rpc("greeter.hello", {"who": "world"}).get()
        with pytest.raises(FluxError):
            handle.rpc("greeter.refuse").get()
        handle.event_publish("greeter.note", {"text": "x"})
        lines = read(9)
    assert without_time(lines[:1]) == ["greeter tx < greeter.hello [24] success"]
    assert lines[1:4] == ["{", '  "text": "hello, world"', "}"]
    assert without_time(lines[4:5]) == ["greeter tx < greeter.refuse [0] EEXIST"]
    assert lines[5] == "there is one already"
    assert without_time(lines[6:7]) == ["greeter rx e greeter.note [13]"]
    assert lines[8] == '  "text": "x"'


def test_several_tracers_see_what_they_asked_for(running: Instance, handle: Any) -> None:
    with tracer(running, handle, "greeter") as one, tracer(running, handle, "-t", "request") as two:
        handle.rpc("greeter.hello", {"who": "a"}).get()
        assert without_time(one(1)) == ["greeter rx > greeter.hello [12]"]
        lines = without_time(two(1))
        while lines[-1] != "greeter rx > greeter.hello [12]":
            lines += without_time(two(1))
        assert all(" > " in line for line in lines)
        assert not any("module.trace" in line for line in lines)


def test_a_module_may_be_loaded_after_its_trace_began(running: Instance, handle: Any) -> None:
    with tracer(running, handle, "-T", "late.*", "late") as read:
        handle.rpc("module.load", {"path": GREETER, "name": "late", "args": []}).get()
        try:
            handle.rpc("late.ping", {}).get()
            assert without_time(read(1)) == ["late rx > late.ping [3]"]
        finally:
            handle.rpc("module.remove", {"name": "late"}).get()


def test_people_get_times_they_can_read(running: Instance, handle: Any) -> None:
    with tracer(running, handle, "-H", "--color=always", "greeter") as read:
        handle.rpc("greeter.hello", {"who": "a"}).get()
        first, second = read(2)
    assert first.startswith("\033[1m\033[32m[") and "\033[32m[" in second
    result = running.run("flux", "module", "trace", "--delta", "greeter")
    assert (result.returncode, result.stderr) == (1, "flux-module: --delta is for use with --human\n")


def test_deferred_messages_leave_later(running: Instance, handle: Any) -> None:
    running.run("flux", "module", "debug", "--defer", "greeter", check=True)
    stream = handle.rpc("greeter.forever", flags=FLUX_RPC_STREAMING)
    hello = handle.rpc("greeter.hello", {"who": "a"})
    handle.rpc("log.stats-get").get()
    assert not hello.is_ready()
    running.run("flux", "module", "debug", "--no-defer", "greeter", check=True)
    assert stream.get() == {"i": 0}
    assert hello.get() == {"text": "hello, a"}


def test_what_cannot_be_deferred(running: Instance) -> None:
    assert "nosuch is not loaded" in running.run("flux", "module", "debug", "--defer", "nosuch").stderr
    assert "broker's own services" in running.run("flux", "module", "debug", "--defer", "broker").stderr
