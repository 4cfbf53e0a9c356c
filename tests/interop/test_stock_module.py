"""A stock C module, run by the stock loader as a process of its own (RFC 5), serves in our instance."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.errors import FluxError
from flux.testing import Instance, wait_for

pytestmark = pytest.mark.interop
MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=1, args=MINIMAL)


@pytest.fixture
def folder(stock_flux: str) -> str:
    """Where the stock modules are."""
    command = [stock_flux, "config", "builtin", "module_path"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split(":")[0]


def test_stock_heartbeat(stock_flux: str, folder: str, running: Instance) -> None:
    with running.handle() as handle:
        handle.event_subscribe("heartbeat.pulse")
        command = f"{stock_flux} module-exec {folder}/heartbeat.so"
        loaded = running.run("flux", "module", "load", f"--command={command}", "heartbeat", "period=0.1s")
        assert (loaded.returncode, loaded.stderr) == (0, "")
        assert handle.event_recv().topic == "heartbeat.pulse"
        assert handle.rpc("heartbeat.stats-get").get()["period"] == pytest.approx(0.1)
        ping = running.run("flux", "ping", "--count=2", "--interval=0", "heartbeat")
        assert ping.stdout.count("seq=") == 2
        reloaded = running.run("flux", "module", "reload", "heartbeat", "period=0.2s")
        assert (reloaded.returncode, reloaded.stderr) == (0, "")
        assert handle.rpc("heartbeat.stats-get").get()["period"] == pytest.approx(0.2)
        assert running.run("flux", "module", "remove", "heartbeat").returncode == 0
        wait_for(lambda: "heartbeat" not in running.run("flux", "module", "list").stdout, what="its end")


def test_stock_module_that_cannot_start(stock_flux: str, running: Instance) -> None:
    payload = {"path": "nosuch", "name": "nosuch", "args": [], "command": [stock_flux, "module-exec", "nosuch"]}
    with (
        running.handle() as handle,
        pytest.raises(FluxError, match=r"nosuch: the other side closed|nosuch: the module's process"),
    ):
        handle.rpc("module.load", payload).get()
