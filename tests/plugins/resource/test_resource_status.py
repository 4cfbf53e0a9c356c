"""Availability and inventory: what a user would lose is a node that is used while it must not be, or is never used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource import ResourceSet
from flux_plugins.resource.discovery import configured, join, local_inventory, missing, read_R
from flux_plugins.resource.status import Status

HOSTS = ["n0", "n1", "n2", "n3"]


@pytest.fixture
def status() -> Status:
    status = Status(IDset("0-3"))
    status.on_online(IDset("0-3"))
    return status


def test_ranks_come_and_go() -> None:
    status = Status(IDset("0-3"))
    assert status.on_online(IDset("0-1,9")) == [("online", IDset("0-1"))]
    assert status.on_online(IDset("1-2")) == [("online", IDset("2")), ("offline", IDset("0"))]
    assert status.on_online(IDset("1-2")) == []
    assert (str(status.online), str(status.offline), str(status.up), str(status.down)) == ("1-2", "0,3", "1-2", "0,3")


def test_a_rank_may_be_forced_down(status: Status) -> None:
    status.forced_down = IDset("2")
    assert status.on_online(IDset("0-3")) == [("offline", IDset("2"))]


def test_excluded_ranks_are_neither_up_nor_down(status: Status) -> None:
    status.excluded = IDset("3")
    status.drain(IDset("1"), 1.0, None, None)
    assert str(status.up) == "0,2" and str(status.down) == "1"


def test_draining_twice_needs_a_mode(status: Status) -> None:
    assert status.drain(IDset("1-2"), 1.0, "bad fan", None) == 0
    with pytest.raises(FluxError, match="rank 1 already drained"):
        status.drain(IDset("0-1"), 2.0, "other", None)
    assert str(status.up) == "0,3"
    status.drain(IDset("0-1"), 2.0, "other", "update")
    assert status.drained_by_reason() == {
        "0": {"timestamp": 2.0, "reason": "other"},
        "1-2": {"timestamp": 1.0, "reason": "bad fan"},
    }
    assert status.drain(IDset("1"), 3.0, "worse", "overwrite") == 1
    assert status.drained[1] == (1.0, "worse")
    assert status.drain(IDset("1"), 4.0, "new", "force-overwrite") == 2
    assert status.drained[1] == (4.0, "new")


def test_undraining_what_is_not_drained_is_refused(status: Status) -> None:
    status.drain(IDset("1"), 1.0, None, None)
    with pytest.raises(FluxError, match="rank 2 not drained"):
        status.undrain(IDset("1-2"))
    assert 1 in status.drained
    status.undrain(IDset("1-2"), mode="force")
    assert not status.drained


@pytest.mark.parametrize(
    ("ranks", "mode", "text"), [("7", None, "rank 7 unknown"), ("0", "x", "mode 'x'"), ("", None, "no ranks")]
)
def test_wrong_drains_change_nothing(status: Status, ranks: str, mode: str | None, text: str) -> None:
    with pytest.raises(FluxError, match=text):
        status.drain(IDset(ranks), 1.0, None, mode)
    assert not status.drained


# -- inventory


def test_this_host_has_the_cores_it_may_use() -> None:
    found = local_inventory(3, "here")
    assert found.count("core") == len(os.sched_getaffinity(0))
    assert str(found.ranks()) == "3" and str(found.nodelist()) == "here"


def test_config_entries_become_an_inventory() -> None:
    conf = {
        "resource": {
            "config": [
                {"hosts": "n[0-3]", "cores": "0-7"},
                {"hosts": "n[2-3]", "gpus": "0-1", "properties": ["gpu"]},
            ]
        }
    }
    inventory = configured(conf, HOSTS)
    assert inventory is not None
    assert (inventory.nnodes, inventory.ncores, inventory.ngpus) == (4, 32, 4)
    assert str(inventory.get_properties()["gpu"]) == "2-3"
    assert configured({}, HOSTS) is None


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"config": [{"hosts": "x9", "cores": "0"}]}, r"config\[0\]: host x9 is not in the instance"),
        ({"config": [{"cores": "0"}]}, "missing key 'hosts'"),
        ({"config": [{"hosts": "n0", "coers": "0"}]}, "unknown key 'coers'"),
        ({"config": [{"hosts": "n0", "cores": "x"}]}, r"config\[0\]"),
        ({"config": [], "path": "/x"}, "one of them"),
        ({"path": "/no/such/file"}, "/no/such/file: No such file"),
    ],
)
def test_wrong_configuration_names_the_culprit(table: dict[str, Any], text: str) -> None:
    with pytest.raises(FluxError, match=text):
        configured({"resource": table}, HOSTS)


def test_R_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "R"
    R = {"version": 1, "execution": {"R_lite": [{"rank": "0", "children": {"core": "0-3"}}], "nodelist": ["n0"]}}
    path.write_text(json.dumps(R))
    assert read_R(str(path)).ncores == 4
    path.write_text("{}")
    with pytest.raises(FluxError, match="version"):
        read_R(str(path))


def test_missing_cores_are_named() -> None:
    wanted = configured({"resource": {"config": [{"hosts": "n[0-1]", "cores": "0-3"}]}}, HOSTS)
    found = ResourceSet(
        {
            "version": 1,
            "execution": {
                "R_lite": [{"rank": "0", "children": {"core": "0-1"}}, {"rank": "1", "children": {"core": "0-7"}}],
                "nodelist": ["n[0-1]"],
            },
        }
    )
    assert wanted is not None
    assert missing(wanted.rlist, found.rlist) == {0: "core[2-3]"}


def test_reports_of_ranks_are_joined_and_the_later_one_counts() -> None:
    first, again = local_inventory(0, "a"), local_inventory(0, "a")
    again.add_child(0, "gpu", "0-1")
    joined = join([first, local_inventory(2, "c"), local_inventory(1, "b"), again])
    assert str(joined.ranks()) == "0-2" and str(joined.nodelist()) == "a,b,c"
    assert joined.count("gpu") == 2 and joined.count("core") == 3 * first.count("core")
