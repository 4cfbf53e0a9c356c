"""Cores and their CPUs: on a host with hardware threads jobs get whole cores, under hwloc's numbers."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from flux.cores import cores_of, cpus_of, host_cores, online_cpus

Cores = list[list[int]]


def host(root: Path, packages: list[Cores], nodes: Cores, caches: Cores) -> str:
    """A host with these packages of cores of CPUs; memory nodes and last-level caches by their CPUs."""
    system = root / "sys/devices/system"
    cores = [(core, sorted(itertools.chain(*package))) for package in packages for core in package]
    write(system / "cpu/online", sorted(cpu for core, _ in cores for cpu in core))
    for core, package in cores:
        for cpu in core:
            write(system / f"cpu/cpu{cpu}/topology/thread_siblings_list", core)
            write(system / f"cpu/cpu{cpu}/topology/core_siblings_list", package)
    for cpus in caches:
        for cpu in cpus:
            write(system / f"cpu/cpu{cpu}/cache/index3/shared_cpu_list", cpus)
    for number, cpus in enumerate(nodes):
        write(system / f"node/node{number}/cpulist", cpus)
    return str(root)


def write(path: Path, cpus: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(",".join(map(str, cpus)) + "\n")


def numbered(root: str) -> Cores:
    return [sorted(core) for core in host_cores(root)]


def test_threads_are_not_cores(tmp_path: Path) -> None:
    root = host(tmp_path, [[[0, 4], [1, 5], [2, 6], [3, 7]]], [list(range(8))], [])
    assert numbered(root) == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert cpus_of([1, 3], root) == [1, 5, 3, 7]
    assert (str(cores_of([4, 2, 6], root)), str(cores_of([99], root))) == ("0,2", "")
    with pytest.raises(ValueError, match="has 4 cores, no 4,9"):
        cpus_of([0, 4, 9], root)


def test_cores_go_by_package_memory_and_cache(tmp_path: Path) -> None:
    packages = [[[0], [2], [4], [6]], [[1], [3], [5], [7]]]
    root = host(tmp_path, packages, [[0, 4], [2, 6], [1, 5], [3, 7]], [])
    assert numbered(root) == [[0], [4], [2], [6], [1], [5], [3], [7]]
    root = host(tmp_path / "b", packages, [list(range(8))], [[0, 6], [2, 4], [1, 7], [3, 5]])
    assert numbered(root) == [[0], [6], [2], [4], [1], [7], [3], [5]]


def test_a_host_that_shows_nothing_has_a_core_for_each_cpu(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/online").write_text("0,3\n")
    assert numbered(str(tmp_path)) == [[0], [3]]


@pytest.mark.skipif(not shutil.which("lstopo-no-graphics"), reason="needs hwloc's lstopo-no-graphics")
@pytest.mark.skipif(os.sched_getaffinity(0) != online_cpus(), reason="only a part of the host may be used")
def test_hwloc_numbers_the_cores_of_this_host_alike() -> None:
    text = subprocess.run(
        ["lstopo-no-graphics", "--of", "xml", "--no-io"], capture_output=True, text=True, check=True
    ).stdout
    cores = [part for part in ET.fromstring(text).iter("object") if part.get("type") == "Core"]
    found = [[int(unit.get("os_index", "")) for unit in core.iterfind(".//object[@type='PU']")] for core in cores]
    assert found == numbered("/")
