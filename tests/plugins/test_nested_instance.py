"""An instance that is a job: its attributes, its resources, and how it is found from outside."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from flux.job.JobID import JobID
from flux.testing import Instance, wait_for
from flux_plugins.resource.enclosing import for_brokers

pytestmark = pytest.mark.timeout(300)  # instances in an instance, on a machine that may be busy

SHOWN = "instance-level jobid jobid-path parent-uri parent-kvs-namespace size local-uri"
SCRIPT = f"""
for name in {SHOWN}; do echo "$name=$(flux getattr $name)"; done
echo "parent-size=$(flux --parent getattr size)"
echo "found=$(flux --parent uri $(flux getattr jobid))"
echo "R=$(flux resource R)"
echo "method=$(flux kvs get resource.eventlog | grep resource-define)"
echo "inner=$(flux run printenv FLUX_JOB_ID_PATH)"
"""


def nested(instance: Instance, *options: str) -> dict[str, str]:
    """Lines NAME=VALUE that the script has printed in an instance which is a job of the given one."""
    done = instance.run("flux", "run", *options, "flux", "start", "sh", "-c", SCRIPT)
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def outer() -> Any:
    with Instance(2, timeout=120) as instance:
        yield instance


@pytest.fixture(scope="module")
def shown(outer: Instance) -> dict[str, str]:
    return nested(outer, "-N2", "-n2", "-c1", "-t30m")


def test_instance_that_is_no_job(outer: Instance) -> None:
    values = json.loads(outer.run("flux", "lsattr", "--json").stdout)
    assert (values["instance-level"], values["jobid-path"]) == ("0", "/")
    assert [values.get(name) for name in ("jobid", "parent-uri", "parent-kvs-namespace")] == [None] * 3


def test_attributes_of_a_nested_instance(outer: Instance, shown: dict[str, str]) -> None:
    assert (shown["instance-level"], shown["size"], shown["parent-size"]) == ("1", "2", "2")
    assert shown["parent-uri"] == outer.uri
    assert shown["parent-kvs-namespace"] == f"job-{int(JobID(shown['jobid']))}"
    assert shown["jobid-path"] == f"/{shown['jobid']}"
    assert shown["inner"].startswith(f"{shown['jobid-path']}/")


def test_uri_of_a_nested_instance_is_known_outside(outer: Instance, shown: dict[str, str]) -> None:
    scheme, path = shown["found"].split("://")
    assert scheme == "ssh"
    assert path.endswith(shown["local-uri"].removeprefix("local://"))
    listed = outer.run("flux", "jobs", "-ano", "{id} {uri} {uri.local}").stdout.splitlines()
    assert f"{shown['jobid']} {shown['found']} {shown['local-uri']}" in listed


def test_resources_of_a_nested_instance_are_those_of_the_job(outer: Instance, shown: dict[str, str]) -> None:
    R = json.loads(shown["R"])["execution"]
    given = json.loads(outer.run("flux", "job", "info", shown["jobid"], "R").stdout)["execution"]
    assert R["R_lite"] == given["R_lite"]
    assert R["expiration"] == given["expiration"] > 0
    assert '"method":"job-info"' in shown["method"].replace(" ", "")


def test_an_enclosing_instance_may_be_too_old_to_be_followed(outer: Instance, tmp_path: Path) -> None:
    (tmp_path / "conf.toml").write_text("[resource]\nno-update-watch = true\n")
    script = "flux kvs eventlog get resource.eventlog; flux resource info"
    words = ("-n1", "-t30m", "flux", "start", f"--config-path={tmp_path}/conf.toml", "sh", "-c", script)
    shown = outer.run("flux", "run", *words, check=True).stdout
    assert 'method="job-info"' in shown
    assert "1 Nodes, 1 Cores" in shown


def test_more_brokers_than_nodes_share_what_they_find(outer: Instance) -> None:
    found = nested(outer, "-N1", "-n2", "-o", "cpu-affinity=off")
    assert found["size"] == "2"
    assert '"method":"dynamic-discovery"' in found["method"].replace(" ", "")


def R_of(ranks: str, nodelist: str) -> dict[str, Any]:
    children = {"core": "0-3"}
    execution = {"R_lite": [{"rank": ranks, "children": children}], "nodelist": [nodelist], "expiration": 7.0}
    return {"version": 1, "execution": {**execution, "starttime": 1.0}}


@pytest.mark.parametrize(
    ("mapping", "hosts"),
    [(None, "a[4,6,9]"), ("[[0,3,1,1]]", "a[4,6,9]"), ("[[2,1,1,1],[0,2,1,1]]", "a[9,4,6]")],
)
def test_ranks_of_the_job_become_ranks_of_the_brokers(mapping: str | None, hosts: str) -> None:
    resources = for_brokers(R_of("4,6,9", "a[4,6,9]"), 3, mapping)
    assert resources is not None
    assert (str(resources.ranks), str(resources.nodelist), resources.expiration) == ("0-2", hosts, 7.0)


@pytest.mark.parametrize(("size", "mapping"), [(2, None), (3, "[[0,1,3,1]]")])
def test_brokers_that_are_not_one_to_a_rank_get_no_R(size: int, mapping: str | None) -> None:
    assert for_brokers(R_of("4,6,9", "a[4,6,9]"), size, mapping) is None


TOLD = """#!/bin/sh
trap 'echo script heard it' USR1
flux submit --output={folder}/job sh -c "trap 'echo job heard it; exit' USR1; echo ready; while :; do sleep 0.1; done"
echo $$ >{folder}/pid
while :; do sleep 0.1; done
"""


def test_signals_reach_the_script_of_a_batch_job_and_its_jobs(outer: Instance, tmp_path: Path) -> None:
    script, pid = tmp_path / "script.sh", tmp_path / "pid"
    script.write_text(TOLD.format(folder=tmp_path))
    jobid = outer.run("flux", "batch", "-N2", f"--output={tmp_path}/script", str(script)).stdout.strip()

    def said(name: str, words: str) -> bool:
        file = tmp_path / name
        return file.exists() and words in file.read_text()

    wait_for(lambda: said("job", "ready") and said("pid", "\n"), timeout=120, what="the batch script and its job")
    outer.run("flux", "job", "kill", "-s", "USR1", jobid)
    wait_for(lambda: said("job", "heard") and said("script", "heard"), timeout=60, what="both to hear of SIGUSR1")
    outer.run("flux", "job", "kill", "-s", "ALRM", jobid)  # as at a time limit
    assert outer.run("flux", "job", "status", jobid).returncode == 128 + signal.SIGALRM
    assert not Path("/proc", pid.read_text().strip()).exists()
