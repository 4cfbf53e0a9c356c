"""The resource service and the scheduler in running instances."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux import kvs
from flux.cores import cores_of
from flux.errors import FluxError
from flux.eventlog import decode
from flux.message import FLAG_STREAMING
from flux.resource import ResourceSet
from flux.testing import Instance, wait_for

CORES = cores_of(os.sched_getaffinity(0)).count()


@pytest.fixture
def handle(instance: Callable[..., Instance]) -> Any:
    return instance(4).handle()


def jobspec(nodes: int) -> dict[str, Any]:
    slot = {"type": "slot", "count": 1, "label": "task", "with": [{"type": "core", "count": 1}]}
    return {
        "version": 1,
        "resources": [{"type": "node", "count": nodes, "with": [slot]}],
        "tasks": [{"command": ["true"], "slot": "task", "count": {"per_slot": 1}}],
        "attributes": {"system": {"duration": 0}},
    }


def test_every_rank_is_in_R_and_online(handle: Any) -> None:
    status = handle.rpc("resource.status", nodeid=0).get()
    resources = ResourceSet(status["R"])
    assert (resources.nnodes, resources.ncores) == (4, 4 * CORES)
    assert (status["online"], status["offline"], status["exclude"]) == ("0-3", "", "")
    assert kvs.get(handle, "resource.R") == status["R"]


def test_the_eventlog_says_how_R_was_found(handle: Any) -> None:
    events = decode(kvs.lookup_async(handle, "resource.eventlog").value())
    names = [event.name for event in events]
    assert names[:2] == ["restart", "resource-define"]
    assert events[1].context == {"method": "dynamic-discovery"}


def test_the_journal_begins_with_what_was(handle: Any) -> None:
    journal = handle.rpc("resource.journal", nodeid=0, flags=FLAG_STREAMING)
    names: list[str] = []
    defined = None
    for response in journal:
        names += [event["name"] for event in response["events"]]
        defined = response.get("R", defined)
        if not response["events"]:
            break
    assert "restart" in names and "resource-define" in names and "online" in names
    assert defined is not None and ResourceSet(defined).nnodes == 4
    handle.rpc("resource.drain", {"targets": "2", "reason": "journal"}, nodeid=0).get()
    journal.reset()
    event = journal.get()["events"][0]
    assert (event["name"], event["context"]["idset"], event["context"]["reason"]) == ("drain", "2", "journal")
    handle.rpc("resource.undrain", {"targets": "2"}, nodeid=0).get()
    journal.cancel("resource.journal-cancel")


def test_only_rank_0_answers(instance: Callable[..., Instance]) -> None:
    with pytest.raises(FluxError, match="only available on rank 0"):
        instance(4).handle(2).rpc("resource.status", nodeid=2).get()


def test_a_drained_rank_gets_no_job(handle: Any) -> None:
    handle.rpc("resource.drain", {"targets": "0-2", "reason": "test"}, nodeid=0).get()
    try:
        down = handle.rpc("resource.sched-status", nodeid=0).get()["down"]
        assert str(ResourceSet(down).ranks) == "0-2"
        seen_by_scheduler = handle.rpc("sched.resource-status", nodeid=0).get()
        assert str(ResourceSet(seen_by_scheduler["down"]).ranks) == "0-2"
        assert ResourceSet(seen_by_scheduler["all"]).nnodes == 4
    finally:
        handle.rpc("resource.undrain", {"targets": "0-2"}, nodeid=0).get()
    assert handle.rpc("resource.status", nodeid=0).get()["drain"] == {}


@pytest.mark.parametrize(
    ("topic", "request_", "errnum"),
    [
        ("resource.drain", {"targets": "9"}, errno.EINVAL),
        ("resource.drain", {"targets": "nohost"}, errno.EINVAL),
        ("resource.drain", {"targets": "0", "mode": "maybe"}, errno.EINVAL),
        ("resource.drain", {}, errno.EPROTO),
        ("resource.undrain", {"targets": "0"}, errno.EEXIST),
        ("resource.reload", {"path": "/x"}, errno.EBUSY),
        ("resource.monitor-waitup", {"up": 99}, errno.EINVAL),
        ("resource.monitor-force-down", {"ranks": "nohost"}, errno.EPROTO),
        ("resource.expiration-update", {"expiration": -1.5}, errno.EPROTO),
        ("rc.run", {"stage": "nonsense"}, errno.EPROTO),
    ],
)
def test_wrong_requests_are_refused(handle: Any, topic: str, request_: dict[str, Any], errnum: int) -> None:
    with pytest.raises(FluxError) as error:
        handle.rpc(topic, request_, nodeid=0).get()
    assert error.value.errno == errnum


def test_only_one_scheduler_at_a_time(handle: Any) -> None:
    with pytest.raises(FluxError) as error:
        handle.rpc("resource.acquire", nodeid=0, flags=FLAG_STREAMING).get()
    assert error.value.errno == errno.EBUSY


def test_waiting_for_ranks_ends_when_they_are_up(handle: Any) -> None:
    assert handle.rpc("resource.monitor-waitup", {"up": 4}, nodeid=0).get() is None


def test_every_rank_tells_its_topology(instance: Callable[..., Instance]) -> None:
    text = instance(4).handle(3).rpc("resource.topo-get").get_str()
    assert text is not None and text.count('type="Core"') == CORES


def test_what_can_never_run_is_told_before_it_is_submitted(handle: Any) -> None:
    assert handle.rpc("feasibility.check", {"jobspec": jobspec(4)}).get() is None
    with pytest.raises(FluxError, match="5 nodes asked, the instance has 4"):
        handle.rpc("feasibility.check", {"jobspec": jobspec(5)}).get()


def test_a_reloaded_scheduler_knows_what_is_taken(instance: Callable[..., Instance]) -> None:
    here = instance(1)
    handle = here.handle()
    submitted = here.run("flux", "submit", f"-n{CORES}", "sleep", "60")
    assert submitted.returncode == 0, submitted.stderr
    jobid = submitted.stdout.strip()
    assert here.run("flux", "job", "wait-event", jobid, "start").returncode == 0
    assert here.run("flux", "module", "reload", "sched-simple").returncode == 0
    allocated = ResourceSet(handle.rpc("resource.sched-status", nodeid=0).get()["allocated"])
    assert allocated.ncores == CORES
    late = here.run("flux", "submit", "true").stdout.strip()
    assert here.run("flux", "cancel", jobid).returncode == 0
    assert here.run("flux", "job", "wait-event", late, "clean").returncode == 0


def test_what_is_drained_stays_so_when_the_service_is_reloaded(instance: Callable[..., Instance]) -> None:
    here = instance(2)
    handle = here.handle()
    handle.rpc("resource.drain", {"targets": "1", "reason": "broken"}, nodeid=0).get()
    assert here.run("flux", "module", "reload", "--force", "resource").returncode == 0
    drained = handle.rpc("resource.status", nodeid=0).get()["drain"]
    assert [entry["reason"] for entry in drained.values()] == ["broken"]
    found = handle.rpc("resource.get", nodeid=0).get()
    assert found["method"] == "kvs" and ResourceSet(found["R"]).nnodes == 2


def test_nodes_that_are_not_as_configured_are_drained(instance: Callable[..., Instance], tmp_path: Path) -> None:
    host = os.uname().nodename.partition(".")[0]
    conf = tmp_path / "flux.toml"
    table = f'[resource]\nexclude = "1"\n[[resource.config]]\nhosts = "{host}"\ncores = "0-1023"\n'
    conf.write_text(table)
    handle = instance(2, args=[f"--config-path={conf}"]).handle()
    wait_for(lambda: handle.rpc("resource.status", nodeid=0).get()["drain"], what="the drained node")
    status = handle.rpc("resource.status", nodeid=0).get()
    ((ranks, info),) = status["drain"].items()
    assert (ranks, status["exclude"]) == ("0", "1")
    offered = handle.rpc("resource.sched-status", nodeid=0).get()["all"]
    assert [entry["rank"] for entry in offered["execution"]["R_lite"]] == ["0"]
    assert info["reason"].startswith("differs from the configured resources: missing core[")
    with pytest.raises(FluxError, match="rank 1 excluded"):
        handle.rpc("resource.drain", {"targets": "1"}, nodeid=0).get()


def test_a_torpid_rank_gets_no_job(instance: Callable[..., Instance]) -> None:
    here = instance(2, attrs={"tbon.torpid_min": "0.1s", "tbon.torpid_max": "0.6s"})
    handle = here.handle()
    pid = here.broker_pid(1)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: handle.rpc("resource.status", nodeid=0).get()["torpid"] == "1", what="rank 1 to be torpid")
        down = handle.rpc("resource.sched-status", nodeid=0).get()["down"]
        assert str(ResourceSet(down).ranks) == "1"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: handle.rpc("resource.status", nodeid=0).get()["torpid"] == "", what="rank 1 to be lively")
