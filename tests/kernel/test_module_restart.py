"""Modules that fail are started again as the composition says, and a module may be what a program of its own runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.testing import Instance, wait_for

HERE = Path(__file__).parent
FRAIL = """
import os
import msgspec
from flux.module import Module, request

class Options(msgspec.Struct):
    file: str = ""

class Frail(Module):
    name = "frail"
    options_type = Options

    def start(self):
        if self.options.file and os.path.exists(self.options.file):
            raise OSError(5, "no luck")

    @request("who")
    def who(self, msg):
        return {"uuid": self.runner.uuid}

    @request("crash")
    def crash(self, msg):
        os._exit(3)

    @request("stumble")
    def stumble(self, msg):
        self.spawn(self._stumble(), "walk")

    async def _stumble(self):
        raise ValueError("a root")

    @request("stuck")
    async def stuck(self, msg):
        await self.flux.loop.create_future()
"""
COMPOSITION = """
[bootstrap.pmi]
[bootstrap.single]
[transports.local]
[transports.overlay]
[modules.log]
[modules.attr]
[modules.config]
[modules.groups]
[modules.state-machine]
[modules.shutdown]
[modules.supervise]

[modules.frail]
use = "frail.py"
isolated = true
restart = "on-failure"
restart-delay = 0.01
restart-limit = 2
args = { file = "PLACE/forbidden" }

[modules.clumsy]
use = "frail.py"
restart = "on-failure"
restart-delay = 0

[modules.fragile]
use = "frail.py"
isolated = true

[modules.foreign]
command = ["PYTHON", "-m", "flux.module.exec", "PLACE/frail.py"]
args = { file = "PLACE/other" }
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sys

    place = tmp_path_factory.mktemp("restart")
    (place / "frail.py").write_text(FRAIL)
    text = COMPOSITION.replace("PLACE", str(place)).replace("PYTHON", sys.executable)
    (place / "plugins.toml").write_text(text)
    return place


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Instance]:
    with Instance(size=2, args=[f"--plugins={place / 'plugins.toml'}"]) as instance:
        yield instance


def listed(handle: Any, name: str, rank: int = 0) -> dict[str, Any]:
    mods = handle.rpc("module.list", nodeid=rank).get()["mods"]
    return next((mod for mod in mods if mod["name"] == name), {})


def log_of(handle: Any, rank: int) -> str:
    rpc = handle.rpc("log.dmesg", {"follow": False}, rank, FLUX_RPC_STREAMING)
    lines = []
    while True:
        try:
            lines.append(rpc.get_str())
        except FluxError:
            return "\n".join(lines)
        rpc.reset()


def test_a_killed_module_serves_again(running: Instance) -> None:
    handle = running.handle()
    handle.event_subscribe("module.restarted")
    stuck = handle.rpc("frail.stuck", nodeid=1)
    os.kill(listed(handle, "frail", 1)["pid"], signal.SIGKILL)
    with pytest.raises(FluxError, match="killed by signal 9"):
        stuck.get()
    told = handle.event_recv()
    assert (told.payload["name"], told.payload["rank"], told.payload["restarts"]) == ("frail", 1, 1)
    assert handle.rpc("frail.who", nodeid=1).get()["uuid"]
    assert listed(handle, "frail", 1)["restarts"] == 1
    assert listed(handle, "frail", 0)["restarts"] == 0
    assert "restarted 1 time" in running.run("flux", "module", "list", rank=1).stdout


def test_it_is_given_up_after_the_limit_and_may_be_reloaded_by_hand(running: Instance, place: Path) -> None:
    handle = running.handle()
    forbidden = place / "forbidden"
    forbidden.touch()
    with pytest.raises(FluxError):
        handle.rpc("frail.crash").get()
    wait_for(lambda: "is not started any more: frail: no luck" in log_of(handle, 0), what="the supervisor gives up")
    found = listed(handle, "frail")
    assert found["status"] == 3 and "exited with status 3" in found["note"]
    forbidden.unlink()
    running.run("flux", "module", "reload", "frail", check=True)
    assert handle.rpc("frail.who").get()["uuid"]


def test_a_module_in_the_process_is_exchanged_when_a_task_of_it_fails(running: Instance) -> None:
    handle = running.handle()
    before = handle.rpc("clumsy.who").get()
    handle.rpc("clumsy.stumble").get()
    wait_for(lambda: listed(handle, "clumsy")["restarts"] == 1, what="the restart")
    assert handle.rpc("clumsy.who").get() != before


def test_without_a_policy_it_stays_down_and_is_marked(running: Instance) -> None:
    handle = running.handle()
    handle.event_subscribe("module.failed")
    with pytest.raises(FluxError, match="exited with status 3"):
        handle.rpc("fragile.crash").get()
    told = handle.event_recv().payload
    assert (told["name"], told["status"], told["restart"]) == ("fragile", 3, {})
    assert "exited with status 3" in listed(handle, "fragile")["note"]


def test_a_command_in_the_composition_runs_a_module(running: Instance) -> None:
    handle = running.handle()
    found = listed(handle, "foreign")
    assert found["isolated"] and "flux.module.exec" in found["path"]
    assert handle.rpc("foreign.who").get()["uuid"]
    handle.rpc("module.reload", {"name": "foreign"}).get()
    assert handle.rpc("foreign.who").get()["uuid"]
