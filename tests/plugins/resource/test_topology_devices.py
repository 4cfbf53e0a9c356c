"""Graphics devices in the hwloc XML of a host, from a made-up sysfs."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flux.resource.sources import count_gpus
from flux_plugins.resource.discovery import local_inventory
from flux_plugins.resource.topology import hwloc_xml

FILES = {
    "class": "0x030200",
    "vendor": "0x10de",
    "device": "0x1db6",
    "subsystem_vendor": "0x10de",
    "subsystem_device": "0x124a",
    "revision": "0xa1",
}


@pytest.fixture
def host(tmp_path: Path) -> str:
    """XML of a host that has two GPUs in two PCI domains, and a network card."""
    for bus_id, kind in (("0000:01:00.0", "0x030200"), ("0001:81:00.0", "0x030000"), ("0000:02:00.0", "0x020000")):
        device = tmp_path / "sys/bus/pci/devices" / bus_id
        (device / "drm/card1").mkdir(parents=True)
        for name, text in {**FILES, "class": kind}.items():
            (device / name).write_text(text + "\n")
    return hwloc_xml("node1", frozenset({0, 1}), str(tmp_path))


def test_graphics_devices_are_listed_by_domain(host: str) -> None:
    machine = ET.fromstring(host)[0]
    bridges = machine.findall("object[@type='Bridge']")
    assert [bridge.get("bridge_pci") for bridge in bridges] == ["0000:[00-ff]", "0001:[00-ff]"]
    devices = machine.findall(".//object[@type='PCIDev']")
    assert [device.get("pci_busid") for device in devices] == ["0000:01:00.0", "0001:81:00.0"]
    assert devices[0].get("pci_type") == "0302 [10de:1db6] [10de:124a] a1"
    assert [part.get("name") for part in devices[0]] == ["card1"]


def test_a_host_without_them_has_no_bridge(tmp_path: Path) -> None:
    assert "Bridge" not in hwloc_xml("node1", frozenset({0}), str(tmp_path))


@pytest.mark.skipif(not shutil.which("lstopo-no-graphics"), reason="needs hwloc's lstopo-no-graphics")
def test_lstopo_reads_them(host: str) -> None:
    command = ["lstopo-no-graphics", "--if", "xml", "-i", "-", "--of", "console", "--whole-io"]
    shown = subprocess.run(command, input=host, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "01:00.0 (3D)" in shown and "card1" in shown


def test_gpus_that_compute_are_counted(tmp_path: Path) -> None:
    assert count_gpus(tmp_path) == 0
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / name).mkdir(parents=True)
    for node, number in (("0", "0"), ("1", "54321")):  # node 0 is the host's processor
        folder = tmp_path / "sys/class/kfd/kfd/topology/nodes" / node
        folder.mkdir(parents=True)
        (folder / "gpu_id").write_text(f"{number}\n")
    assert count_gpus(tmp_path) == 3


def test_gpus_are_offered_with_cores() -> None:
    found = local_inventory(0, "n0", [0, 1], gpus=2)
    assert found.dumps() == "rank0/core[0-1],gpu[0-1]"
