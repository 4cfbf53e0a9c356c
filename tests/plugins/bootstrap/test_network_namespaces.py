"""An instance over four hosts with a network between them: namespaces, a switch and cables, TCP and CURVE."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bootstrap_cluster import FLUX, Cluster, keygen

from flux.testing import wait_for


def ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, timeout=60, check=False)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"fk{os.getpid()}-probe"
    if ip("netns", "add", name).returncode:
        return False
    made = ip("-n", name, "link", "add", "br0", "type", "bridge").returncode == 0
    ip("netns", "delete", name)
    return made


pytestmark = pytest.mark.skipif(not can_make_namespaces(), reason="needs root, iproute2 and network namespaces")


class Network(Cluster):
    """A cluster whose brokers are in namespaces of their own, joined by a bridge."""

    def __init__(self, tmp_path: Path, size: int) -> None:
        super().__init__(tmp_path, size)
        self.size = size
        self.name = f"fk{os.getpid()}"
        hosts = [f'{{ host = "n{rank}", connect = "tcp://10.77.0.{rank + 1}:8050" }}' for rank in range(size)]
        hosts.append('{ host = "n3", parent = "n1" }')
        self.config.write_text(
            f'[bootstrap]\ncurve_cert = "{tmp_path / "cert"}"\ndefault_bind = "tcp://eth0:8050"\n'
            f"hosts = [{', '.join(hosts)}]\n"
        )

    def prefix(self, rank: int) -> list[str]:
        return ["ip", "netns", "exec", f"{self.name}-{rank}"]

    def build(self) -> None:
        hub = f"{self.name}-hub"
        ip("netns", "add", hub).check_returncode()
        ip("-n", hub, "link", "add", "br0", "type", "bridge").check_returncode()
        ip("-n", hub, "link", "set", "br0", "up").check_returncode()
        for rank in range(self.size):
            host, port = f"{self.name}-{rank}", f"port{rank}"
            ip("netns", "add", host).check_returncode()
            pair = ["link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host]
            ip("-n", hub, *pair).check_returncode()
            ip("-n", hub, "link", "set", port, "master", "br0", "up").check_returncode()
            ip("-n", host, "address", "add", f"10.77.0.{rank + 1}/24", "dev", "eth0").check_returncode()
            for device in ("lo", "eth0"):
                ip("-n", host, "link", "set", device, "up").check_returncode()

    def cable(self, rank: int, state: str) -> None:
        """Cut ("down") or mend ("up") the cable of a host, at the switch."""
        ip("-n", f"{self.name}-hub", "link", "set", f"port{rank}", state).check_returncode()

    def remove(self) -> None:
        self.kill()
        for name in ("hub", *range(self.size)):
            ip("netns", "delete", f"{self.name}-{name}")

    def run(self, *words: str, rank: int = 0) -> str:
        env = {**os.environ, "FLUX_URI": self.uri(rank)}
        return subprocess.run([FLUX, *words], env=env, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path, 4)
    try:
        made.build()
        yield made
    finally:
        made.remove()


QUICK = ("-Stbon.tcp_user_timeout=1s", "-Stbon.torpid_min=0.2s", "-Stbon.torpid_max=1s")
LEADER = ("-Sbroker.quorum=1", "-Sbroker.rc2_none=1", *QUICK)


def test_four_hosts_make_an_instance(network: Network) -> None:
    for rank in (3, 2, 1):
        network.start(rank)
    program = "flux getattr size; flux getattr hostlist; flux getattr tbon.maxlevel; flux getattr tbon.endpoint"
    output = network.start(0, "sh", "-c", program).communicate(timeout=50)[0]
    assert output.split() == ["4", "n[0-3]", "2", "tcp://10.77.0.1:8050"]
    assert [broker.wait(30) for broker in network.brokers.values()] == [0, 0, 0, 0]


def test_a_cable_is_cut_and_mended(network: Network) -> None:
    network.start(0, *LEADER)
    for rank in (1, 2, 3):
        network.start(rank, *QUICK)
    network.wait_online("0-3")
    network.cable(2, "down")

    def noticed() -> bool:
        network.run("event", "pub", "test.traffic")
        return network.online() == "0-1,3"

    wait_for(noticed, what="the loss of the host without cable")
    assert "rank 2 (n2) is lost" in network.run("dmesg")
    network.cable(2, "up")

    def back() -> bool:
        if network.brokers[2].poll() is not None:
            network.brokers[2].communicate(timeout=40)
            network.start(2, *QUICK)
        return network.online() == "0-3"

    wait_for(back, what="the return of the host")


def test_a_wrong_certificate_is_refused_over_tcp(network: Network, tmp_path: Path) -> None:
    network.start(0, *LEADER)
    network.wait_online("0")
    stranger = network.start(1, certificate=keygen(tmp_path / "other"))
    assert "did not accept our key" in stranger.communicate(timeout=30)[0]
    assert stranger.returncode == 1
    wait_for(lambda: "does not speak CURVE" in network.run("dmesg"), what="what rank 0 says of it")
    network.start(2, *QUICK)
    network.wait_online("0,2")
