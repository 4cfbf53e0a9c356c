"""`flux proxy` whose broker goes away, with and without --reconnect (flux-proxy(1))."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flux.errors import FluxError
from flux.testing import Instance, wait_for

MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"
FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
CLIENT = """
import flux
handle = flux.Flux()
handle.event_subscribe("proxied.")
handle.service_register("mine").get()
call = handle.rpc("mine.never-answered")
print("ready", flush=True)
try:
    call.get()
except OSError as exc:
    print(exc.errno, flush=True)
print(handle.event_recv().topic, flush=True)
input()
"""


class Place:
    """Instances whose socket is always at the same place, and a proxy to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances: list[Instance] = []
        self.proxy: subprocess.Popen[str] | None = None

    def start(self) -> Instance:
        (self.folder / "run").mkdir(exist_ok=True)
        attrs = {"rundir": f"{self.folder}/run"}
        self.instances.append(Instance(size=1, attrs=attrs, args=[MINIMAL]).start())
        return self.instances[-1]

    def run_proxy(self, *words: str, nohup: bool = False) -> subprocess.Popen[str]:
        command = [*(["nohup"] if nohup else []), FLUX, "proxy", *words]
        self.proxy = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self.proxy

    def line(self) -> str:
        """The next line of the proxied command."""
        assert self.proxy is not None and self.proxy.stdout is not None
        assert select.select([self.proxy.stdout], [], [], 60)[0], "the proxied command said nothing"
        return self.proxy.stdout.readline().strip()

    def end(self) -> None:
        for instance in self.instances:
            if instance.process.poll() is None:
                instance.stop()
        if self.proxy is not None:
            if self.proxy.poll() is None:
                self.proxy.kill()
            self.proxy.communicate(timeout=30)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.end()


def test_clients_of_a_reconnecting_proxy_go_on(place: Place) -> None:
    first = place.start()
    proxy = place.run_proxy("--reconnect", first.uri, sys.executable, "-c", CLIENT)
    assert place.line() == "ready"
    first.kill()
    assert place.line() == str(errno.ECONNRESET)
    handle = place.start().handle()
    assert proxy.stdout is not None

    def event_came() -> bool:
        handle.event_publish("proxied.again")
        return bool(select.select([proxy.stdout], [], [], 0.2)[0])

    wait_for(event_came, 60, "the subscription is there again")
    assert place.line() == "proxied.again"
    with pytest.raises(FluxError) as caught:
        handle.service_register("mine").get()
    assert caught.value.errno == errno.EEXIST
    _, said = proxy.communicate("\n", timeout=60)
    assert proxy.returncode == 0
    assert "connected again" in said


def test_a_command_is_hung_up_on_when_the_broker_is_gone(place: Place) -> None:
    first = place.start()
    proxy = place.run_proxy(first.uri, "sh", "-c", "echo ready; exec sleep 1000")
    assert place.line() == "ready"
    first.kill()
    _, said = proxy.communicate(timeout=60)
    assert proxy.returncode == 129
    assert said.startswith(f"flux-proxy: {first.uri}: ")


@pytest.mark.parametrize("by", ["the option", "the command"])
def test_a_command_is_let_be_with_nohup(place: Place, by: str) -> None:
    first = place.start()
    options = ["--nohup"] if by == "the option" else []
    words = ("sh", "-c", "echo ready; read line; exit 5")
    proxy = place.run_proxy(*options, first.uri, *words, nohup=not options)
    assert place.line() == "ready"
    first.kill()
    assert proxy.stderr is not None
    assert select.select([proxy.stderr], [], [], 60)[0]
    proxy.communicate("\n", timeout=60)
    assert proxy.returncode == 5
