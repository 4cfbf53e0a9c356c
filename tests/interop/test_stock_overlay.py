"""Stock `flux overlay` against our brokers, and ours against stock ones: what an administrator types works in both."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from flux.testing import Instance, wait_for

pytestmark = pytest.mark.interop


@pytest.fixture
def brokers() -> Iterator[Instance]:
    """Seven brokers that may die."""
    with Instance(7, {"tbon.fanout": "2"}, ["--test-exit-mode=leader"]) as instance:
        yield instance


@pytest.fixture
def both(stock_flux: str, instance: Callable[..., Instance]) -> Callable[..., list[str]]:
    """Run a `flux overlay` command of both on seven brokers; gives what each prints."""
    return on(stock_flux, instance(size=7, attrs={"tbon.fanout": "2"}))


def on(stock_flux: str, brokers: Instance) -> Callable[..., list[str]]:
    def run(*words: str) -> list[str]:
        results = [brokers.run(flux, "overlay", *words) for flux in ("flux", stock_flux)]
        assert [result.returncode for result in results] == [0, 0], [result.stderr for result in results]
        return [result.stdout for result in results]

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "--summary"),
        ("status", "--down"),
        ("status", "--no-pretty"),
        ("status", "--rank=2"),
        ("status", "--highlight=2,5"),
        ("status", "--wait=full", "--timeout=5s"),
        ("lookup", "3-4"),
        ("parentof", "6"),
        ("errors",),
    ],
    ids=" ".join,
)
def test_both_print_the_same(both: Callable[..., list[str]], words: tuple[str, ...]) -> None:
    ours, stocks = both(*words)
    assert ours == stocks


def test_both_show_the_same_of_a_tree_that_has_changed(stock_flux: str, brokers: Instance) -> None:
    both = on(stock_flux, brokers)
    os.kill(brokers.broker_pid(1), signal.SIGKILL)
    wait_for(lambda: both("status", "--no-pretty")[0].count("full") == 5, what="the children of rank 1 are back")
    for words in (("status",), ("status", "--down", "--no-pretty"), ("errors",)):
        ours, stocks = both(*words)
        assert ours == stocks


def test_stock_trace_and_disconnect(stock_flux: str, brokers: Instance) -> None:
    command = ["stdbuf", "-oL", stock_flux, "overlay", "trace", "seen.*"]
    with subprocess.Popen(command, env=brokers.env, stdout=subprocess.PIPE, text=True) as tracer:
        assert tracer.stdout is not None
        handle = brokers.handle()
        wait_for(lambda: handle.rpc("overlay.stats-get").get()["tracers"] == 1, what="the tracer is there")
        handle.event_publish("seen.event")
        assert tracer.stdout.readline().split()[1:] == ["tx", "*", "e", "seen.event", "[0]"]
        tracer.send_signal(signal.SIGINT)
    result = brokers.run(stock_flux, "overlay", "disconnect", "2")
    assert result.returncode == 0, result.stderr
    assert "2 lost" in brokers.run(stock_flux, "overlay", "status", "--down").stdout.replace(
        f"{handle.attr_get('hostname')}: ", ""
    )
