"""`flux hwloc` in a running instance of two brokers."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from flux.testing import Instance

Hwloc = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hwloc(instance: Callable[..., Instance]) -> Hwloc:
    running = instance(size=2)
    return lambda *words, **options: running.run("flux", "hwloc", *words, **options)


def test_info_counts_ranks(hwloc: Hwloc) -> None:
    units = len(os.sched_getaffinity(0))
    whole, one = hwloc("info").stdout, hwloc("info", "--local", rank=1).stdout
    assert whole.startswith("2 Machines, ") and whole.endswith(f", {2 * units} PUs\n")
    assert one.startswith("1 Machine, ")
    assert hwloc("info", "-r", "1").stdout == one and hwloc("info", "-r", "all").stdout == whole


def test_topology_prints_a_document_for_each_rank(hwloc: Hwloc) -> None:
    assert hwloc("topology").stdout.count("<?xml") == 2
    assert ET.fromstring(hwloc("topology", "--rank=1").stdout).tag == "topology"


def test_wrong_ranks(hwloc: Hwloc) -> None:
    for ranks, text in (("2", "the instance has ranks 0 to 1"), ("x", "--rank: ")):
        result = hwloc("info", "--rank", ranks)
        assert (result.returncode, text in result.stderr) == (1, True)


@pytest.mark.skipif(not shutil.which("lstopo-no-graphics"), reason="needs hwloc's lstopo-no-graphics")
def test_lstopo(hwloc: Hwloc) -> None:
    result = hwloc("lstopo", "--local", "--", "--only", "pu")
    assert (result.returncode, result.stdout.count("PU L#")) == (0, len(os.sched_getaffinity(0)))
