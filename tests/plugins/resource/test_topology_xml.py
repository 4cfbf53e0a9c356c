"""A host's topology as hwloc XML: jobs bind to what it says, and hwloc's own tools must take it."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flux_plugins.resource.topology import hwloc_xml


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def host(tmp_path: Path) -> str:
    """Two packages of two NUMA nodes, each with an L3 cache and two cores of two threads: 16 CPUs."""
    system = tmp_path / "sys/devices/system"
    for cpu in range(16):
        core, node, package = cpu // 2, cpu // 4, cpu // 8
        topology, cache = system / f"cpu/cpu{cpu}/topology", system / f"cpu/cpu{cpu}/cache"
        write(topology / "core_id", str(core % 4))
        write(topology / "thread_siblings_list", f"{2 * core}-{2 * core + 1}")
        write(topology / "physical_package_id", str(package))
        for index, (kind, level, size, shared) in enumerate(
            (
                ("Data", 1, "48K", f"{2 * core}-{2 * core + 1}"),
                ("Instruction", 1, "32K", f"{2 * core}-{2 * core + 1}"),
                ("Unified", 2, "2048K", f"{2 * core}-{2 * core + 1}"),
                ("Unified", 3, "32M", f"{4 * node}-{4 * node + 3}"),
            )
        ):
            for name, value in (("type", kind), ("level", str(level)), ("size", size), ("shared_cpu_list", shared)):
                write(cache / f"index{index}" / name, value)
    for node in range(4):
        write(system / f"node/node{node}/cpulist", f"{4 * node}-{4 * node + 3}")
        write(system / f"node/node{node}/meminfo", f"Node {node} MemTotal:  1024 kB\nNode {node} MemFree: 1 kB")
    write(tmp_path / "proc/cpuinfo", "vendor_id\t: Maker\nmodel name\t: Fast & Small")
    return str(tmp_path)


def counts(root: ET.Element) -> dict[str | None, int]:
    types = [part.get("type") for part in root.iter("object")]
    return {type: types.count(type) for type in types}


def test_the_tree_of_a_large_host(host: str) -> None:
    root = ET.fromstring(hwloc_xml("h&1", frozenset(range(16)), host))
    assert (root.tag, root.get("version")) == ("topology", "2.0")
    cores = {"L2Cache": 8, "L1Cache": 8, "L1iCache": 8, "Core": 8, "PU": 16}
    assert counts(root) == {"Machine": 1, "Package": 2, "NUMANode": 4, "L3Cache": 4, **cores}
    package = root.findall(".//object[@type='Package']")[1]
    assert (package.get("cpuset"), package.get("nodeset")) == ("0x0000ff00", "0x0000000c")
    assert package.find("info[@name='CPUModel']").get("value") == "Fast & Small"  # type: ignore[union-attr]
    node = root.findall(".//object[@type='NUMANode']")[3]
    assert (node.get("nodeset"), node.get("cpuset"), node.get("local_memory")) == (
        "0x00000008",
        "0x0000f000",
        "1048576",
    )
    core = root.findall(".//object[@type='L2Cache']//object[@type='Core']")[5]
    assert (core.get("os_index"), [unit.get("os_index") for unit in core]) == ("1", ["10", "11"])
    cache = root.find(".//object[@type='L3Cache']")
    assert cache is not None and cache.get("cache_size") == str(32 << 20)
    indices = [part.get("gp_index") for part in root.iter("object")]
    assert len(set(indices)) == len(indices)


def test_memory_without_a_part_of_its_own_gets_a_group(host: str) -> None:
    for path in Path(host).glob("sys/devices/system/cpu/cpu*/cache/index3/type"):
        path.unlink()
    root = ET.fromstring(hwloc_xml("h", frozenset(range(16)), host))
    groups = root.findall(".//object[@type='Group']")
    assert [group.get("cpuset") for group in groups] == ["0x0000000f", "0x000000f0", "0x00000f00", "0x0000f000"]
    assert all(group[0].get("type") == "NUMANode" for group in groups)


def test_only_the_cpus_of_the_mask_are_shown(host: str) -> None:
    root = ET.fromstring(hwloc_xml("h", frozenset({3, 8, 9}), host))
    found = counts(root)
    assert (found["Package"], found["NUMANode"], found["Core"], found["PU"]) == (2, 2, 2, 3)
    assert root.find("object").get("cpuset") == "0x00000308"  # type: ignore[union-attr]


def test_a_host_that_shows_nothing(tmp_path: Path) -> None:
    root = ET.fromstring(hwloc_xml("h", frozenset({0, 33}), str(tmp_path)))
    assert counts(root) == {"Machine": 1, "Package": 1, "NUMANode": 1, "Core": 2, "PU": 2}
    cores = root.findall(".//object[@type='Core']")
    assert [core.get("cpuset") for core in cores] == ["0x00000001", "0x00000002,0x00000000"]


@pytest.mark.skipif(not shutil.which("lstopo-no-graphics"), reason="needs hwloc's lstopo-no-graphics")
@pytest.mark.parametrize("kind", ["real", "large", "grouped"])
def test_lstopo_reads_it(host: str, kind: str) -> None:
    if kind == "grouped":
        for path in Path(host).glob("sys/devices/system/cpu/cpu*/cache/index3"):
            shutil.rmtree(path)
    text = hwloc_xml("h") if kind == "real" else hwloc_xml("h", frozenset(range(16)), host)
    words = ["lstopo-no-graphics", "--if", "xml", "-i", "-", "--of", "xml"]
    result = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert counts(ET.fromstring(result.stdout)) == counts(ET.fromstring(text))
