"""Availability and inventory: what a user would lose is a node that is used while it must not be, or is never used."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flux.errors import FluxError
from flux.idset import IDset
from flux.resource.Rlist import Rlist
from flux_plugins.resource.discovery import configured, join, local_inventory, read_R
from flux_plugins.resource.status import Status
from flux_plugins.resource.verify import discrepancies, read_verify

CPUS = os.sched_getaffinity(0)
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
    found = local_inventory(3, "here", CPUS)
    assert found.count("core") == len(CPUS)
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
        ({"config": [{"cores": "0"}], "path": "/x"}, "missing key 'hosts'"),
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


def inventory(*ranks: tuple[str, str, str]) -> Rlist:
    """Ranks from (host, cores, gpus) of each."""
    rlist = Rlist()
    for rank, (host, cores, gpus) in enumerate(ranks):
        rlist.add_rank(rank, host, cores)
        if gpus:
            rlist.add_child(rank, "gpu", gpus)
    return rlist


@pytest.mark.parametrize(
    ("table", "problems"),
    [
        ({}, {0: "missing core[2-3]", 2: "hostname is x2, not n2"}),
        ({"noverify": True, "verify": True}, {}),
        ({"verify": False}, {}),
        (
            {"verify": True},
            {0: "missing core[2-3]", 1: "extra core[4-7], missing gpu[0]", 2: "hostname is x2, not n2, extra gpu[0]"},
        ),
        (
            {"verify": {"hostname": "ignore", "gpu": "allow-extra"}},
            {0: "missing core[2-3]", 1: "extra core[4-7], missing gpu[0]"},
        ),
        ({"verify": {"default": "allow-missing"}}, {1: "extra core[4-7]", 2: "hostname is x2, not n2, extra gpu[0]"}),
    ],
)
def test_what_differs_from_the_configuration_is_named(table: dict[str, Any], problems: dict[int, str]) -> None:
    wanted = inventory(("n0", "0-3", ""), ("n1", "0-3", "0"), ("n2", "0-3", ""))
    found = inventory(("n0", "0-1", ""), ("n1", "0-7", ""), ("x2", "0-3", "0"))
    assert discrepancies(wanted, found, read_verify(table, is_job=False)) == problems


def test_jobs_are_verified_when_they_ask_for_it() -> None:
    assert set(read_verify({}, is_job=True).values()) == {"ignore"}
    assert set(read_verify({"verify": {}}, is_job=True).values()) == {"strict"}


@pytest.mark.parametrize(
    ("verify", "text"),
    [("yes", "true, false or a table"), ({"cores": "strict"}, "no key 'cores'"), ({"core": "lax"}, "not 'lax'")],
)
def test_wrong_verify_tables_are_refused(verify: Any, text: str) -> None:
    with pytest.raises(FluxError, match=text):
        read_verify({"verify": verify}, is_job=False)


def test_torpid_ranks_get_no_jobs(status: Status) -> None:
    assert status.on_torpid(IDset("1,9")) == [("torpid", IDset("1"))]
    assert str(status.up) == "0,2-3"
    assert status.on_torpid(IDset()) == [("lively", IDset("1"))]
    assert str(status.up) == "0-3"


def test_what_is_excluded_is_not_drained(status: Status) -> None:
    status.drain(IDset("0-1"), 1.0, "bad", None)
    status.excluded = IDset("1-2")
    status = status.moved_to(status.ranks)
    assert IDset(status.drained) == IDset("0")
    with pytest.raises(FluxError, match=r"^rank 2 excluded") as error:
        status.drain(IDset("2-3"), 2.0, None, None)
    assert error.value.errno == errno.EINVAL
    with pytest.raises(FluxError, match="ranks 0,2 already drained or excluded"):
        status.drain(IDset("0-3") - IDset("1"), 2.0, None, None)


def test_reports_of_ranks_are_joined_and_the_later_one_counts() -> None:
    first, again = local_inventory(0, "a", CPUS), local_inventory(0, "a", CPUS)
    again.add_child(0, "gpu", "0-1")
    joined = join([first, local_inventory(2, "c", CPUS), local_inventory(1, "b", CPUS), again])
    assert str(joined.ranks()) == "0-2" and str(joined.nodelist()) == "a,b,c"
    assert joined.count("gpu") == 2 and joined.count("core") == 3 * first.count("core")
