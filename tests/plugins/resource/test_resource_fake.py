"""Resources that are not there: an instance of one broker that takes itself for a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.resource import ResourceSet
from flux.testing import Instance, wait_for
from flux_plugins.resource.fake import fake_inventory

XML = """<?xml version="1.0"?><topology version="2.0"><object type="Machine">
<object type="Core"/><object type="Core"/><object type="OSDev" osdev_type="5"/></object></topology>
"""


def test_nodes_are_as_the_table_says() -> None:
    assert fake_inventory({}) is None
    inventory = fake_inventory({"fake-resources": {"nnodes": 3, "gpus-per-node": 2, "host-prefix": "n"}})
    assert str(inventory) == "rank[0-2]/core[0-63],gpu[0-1]"
    assert inventory is not None and str(inventory.nodelist) == "n[0-2]"


def test_nodes_are_as_a_topology_says_and_amended(tmp_path: Path) -> None:
    xml, amender = tmp_path / "node.xml", tmp_path / "amend.py"
    xml.write_text(XML)
    amender.write_text(
        "def amend(R, hwloc_xml=None):\n    R['scheduling'] = {'cores': hwloc_xml.count('Core')}\n    return R\n"
    )
    table = {"nnodes": 2, "hwloc-xml-path": str(xml), "amend-r": str(amender)}
    inventory = fake_inventory({"fake-resources": table})
    assert inventory is not None and str(inventory) == "rank[0-1]/core[0-1],gpu0"
    assert inventory.to_dict()["scheduling"] == {"cores": 2}


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({}, "missing required field `nnodes`"),
        ({"nnodes": 0}, "Expected `int` >= 1 - at `$.nnodes`"),
        ({"nnodes": 1, "cores": 2}, "unknown field `cores`"),
        ({"nnodes": 1, "hwloc-xml-path": "/nonexistent"}, "No such file"),
        ({"nnodes": 1, "amend-r": "/nonexistent.py"}, "amend-r /nonexistent.py: FileNotFoundError"),
        ({"nnodes": 1, "amend-r": "json:nothing"}, "amend-r json:nothing: AttributeError"),
    ],
)
def test_what_is_wrong_with_the_table_is_named(table: dict[str, Any], text: str) -> None:
    with pytest.raises(FluxError) as caught:
        fake_inventory({"fake-resources": table})
    assert text in str(caught.value)


def test_test_jobs_run_on_nodes_that_are_not_there(tmp_path: Path) -> None:
    conf = tmp_path / "flux.toml"
    conf.write_text('[fake-resources]\nnnodes = 100\ncores-per-node = 4\nhost-prefix = "n"\n')
    with Instance(1, args=[f"--config-path={conf}"]) as here:
        handle = here.handle()
        wait_for(lambda: handle.rpc("resource.status", nodeid=0).get()["online"] == "0-99", what="all nodes")
        submitted = here.run("flux", "submit", "-N60", "--setattr=system.exec.test.run_duration=0.01", "true")
        jobid = submitted.stdout.strip()
        assert here.run("flux", "job", "wait-event", "-t30", jobid, "clean").returncode == 0
        R = ResourceSet(here.run("flux", "job", "info", jobid, "R").stdout)
        assert R.nnodes == 60 and str(R.nodelist).startswith("n[0-")
        handle.rpc("resource.drain", {"targets": "n7", "reason": "fan"}, nodeid=0).get()
        here.run("flux", "module", "reload", "resource", "noverify", check=True)
        assert list(handle.rpc("resource.status", nodeid=0).get()["drain"]) == ["7"]


def test_all_ranks_may_be_taken_to_be_up(tmp_path: Path) -> None:
    with Instance(1) as here:
        handle = here.handle()
        words = ("flux", "module", "reload", "resource", "monitor-force-up")
        here.run("flux", "module", "remove", "sched-simple", check=True)
        here.run(*words, check=True)
        R = tmp_path / "R.json"
        R.write_text(str(fake_inventory({"fake-resources": {"nnodes": 4}}).encode()))  # type: ignore[union-attr]
        here.run("flux", "resource", "reload", "--force", str(R), check=True)
        assert handle.rpc("resource.status", nodeid=0).get()["online"] == "0-3"
