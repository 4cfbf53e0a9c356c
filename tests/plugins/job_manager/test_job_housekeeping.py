"""Housekeeping of an instance that ends and comes back: no node is given to a job before it is done there."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flux
from flux.testing import Instance, wait_for

CONFIG = """
[job-manager.housekeeping]
command = ["sh", "-c", "echo >> {0}/begun; while test -d {0}/busy; do sleep 0.1; done; echo >> {0}/done"]
"""

ISOLATED = """
extends = "default"
[modules.job-manager]
isolated = true
restart = "on-failure"
restart-delay = 0.1
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "conf.toml").write_text(CONFIG.format(tmp_path))
    for name in ("busy", "state"):
        (tmp_path / name).mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path / "busy", ignore_errors=True)  # then what a killed broker has left behind ends


def instance(site: Path, size: int, *args: str, **attrs: str) -> Instance:
    return Instance(size, attrs={"statedir": f"{site}/state", **attrs}, args=[f"--config-path={site}/conf.toml", *args])


def lines(site: Path, name: str) -> int:
    path = site / name
    return len(path.read_text().splitlines()) if path.exists() else 0


def pending(running: Instance, what: str = "pending") -> str:
    stats: dict[str, Any] = running.handle().rpc("job-manager.stats-get").get()["housekeeping"]["running"]
    return ",".join(entry[what] for entry in stats.values())


def online(handle: flux.Flux) -> str:
    members: str = handle.rpc("groups.get", {"name": "broker.online"}).get()["members"]
    return members


def test_what_an_instance_was_doing_is_done_when_it_comes_back(site: Path) -> None:
    with instance(site, 2) as before:
        assert before.run("flux", "run", "-N2", "true").returncode == 0
        wait_for(lambda: lines(site, "begun") == 2, what="housekeeping on two nodes")
    assert lines(site, "done") == 0
    with instance(site, 2) as after:
        wait_for(lambda: lines(site, "begun") == 4, what="housekeeping on two nodes again")
        assert pending(after) == "0-1"
        assert after.run("flux", "resource", "list", "-s", "free", "-no", "{nnodes}").stdout == "0\n"
        (site / "busy").rmdir()
        wait_for(lambda: not pending(after), what="the end of housekeeping")
        assert after.run("flux", "run", "-N2", "true").returncode == 0


def test_a_node_that_is_lost_does_not_keep_the_others(site: Path) -> None:
    with instance(site, 2, "--test-exit-mode=leader") as running:
        assert running.run("flux", "run", "-N2", "true").returncode == 0
        wait_for(lambda: lines(site, "begun") == 2, what="housekeeping on two nodes")
        os.kill(running.broker_pid(1), signal.SIGKILL)
        wait_for(lambda: "lost, to be done again" in running.run("flux", "dmesg").stdout, what="the loss noticed")
        assert pending(running) == "0-1"
        (site / "busy").rmdir()
        wait_for(lambda: pending(running, "allocated") == "1", what="the release of the other node")
        assert running.run("flux", "housekeeping", "kill", "--targets=1").returncode == 0
        wait_for(lambda: not pending(running), what="the end of the wait for the lost one")


def test_a_node_that_cannot_be_reached_is_told_of_once(site: Path) -> None:
    chain = {"tbon.topo": "kary:1", "tbon.reparent-timeout": "3s"}
    with instance(site, 3, "--test-exit-mode=leader", **chain) as running:
        assert running.run("flux", "run", "-N3", "true").returncode == 0
        wait_for(lambda: lines(site, "begun") == 3, what="housekeeping on three nodes")
        last = running.broker_pid(2)
        os.kill(last, signal.SIGSTOP)  # it does not come under another parent
        os.kill(running.broker_pid(1), signal.SIGKILL)
        handle = running.handle()
        try:
            wait_for(lambda: online(handle) == "0", 60, "the end of the wait for rank 2")
        finally:
            os.kill(last, signal.SIGCONT)
        said = [line for line in running.run("flux", "dmesg").stdout.splitlines() if "lost, to be done again" in line]
        assert [sum(f"(rank {rank})" in line for line in said) for rank in (1, 2)] == [1, 1], said
        assert running.run("flux", "housekeeping", "kill", "--all").returncode == 0
        wait_for(lambda: not pending(running), what="the end of housekeeping")


def test_it_outlives_a_job_manager_that_is_killed(site: Path) -> None:
    (site / "plugins.toml").write_text(ISOLATED)
    with instance(site, 1, f"--plugins={site}/plugins.toml") as running:
        first = running.run("flux", "submit", "true").stdout.strip()
        wait_for(lambda: lines(site, "begun") == 1, what="housekeeping")
        rows = running.run("flux", "module", "list").stdout.splitlines()
        row = next(row for row in rows if row.startswith("job-manager"))
        os.kill(int(row.split("pid ")[1].split()[0]), signal.SIGKILL)
        wait_for(lambda: "restarted 1 time" in running.run("flux", "module", "list").stdout, what="another job manager")
        words = ("flux", "housekeeping", "list", "-no", "{pending.ranks}")
        wait_for(lambda: running.run(*words).stdout == "0\n", what="a job manager that answers")
        (site / "busy").rmdir()
        wait_for(lambda: not pending(running), what="the end of housekeeping")
        assert running.run("flux", "run", "true").returncode == 0
        assert running.run("flux", "jobs", "-no", "{status}", first).stdout == "COMPLETED\n"
    assert (lines(site, "begun"), lines(site, "done")) == (2, 2)


def test_brokers_that_do_not_come_back_are_not_waited_for(site: Path) -> None:
    with instance(site, 2) as before:
        assert before.run("flux", "run", "-N2", "true").returncode == 0
        wait_for(lambda: lines(site, "begun") == 2, what="housekeeping on two nodes")
    with instance(site, 1) as after:
        wait_for(lambda: lines(site, "begun") == 3, what="housekeeping on the node that is left")
        assert pending(after) == "0"
        assert "is over on ranks 1, which are other hosts now" in after.run("flux", "dmesg").stdout
        assert after.run("flux", "housekeeping", "kill", "--all").returncode == 0
        wait_for(lambda: not pending(after), what="the end of housekeeping")
        assert "Terminated" in after.run("flux", "dmesg").stdout
