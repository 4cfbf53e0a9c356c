"""A broker between rank 0 and others hangs and dies: jobs, commits, watches and barriers below it go on.

The tree is 0 - (1, 2), 1 - (3, 4), 2 - (5, 6). Rank 1 is stopped before it is killed, so that what was sent through it
in between is lost for certain.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import flux
from flux.constants import FLUX_KVS_WATCH
from flux.errors import FluxError
from flux.kvs import KVSTxn, commit_async, watch_async
from flux.testing import Instance, wait_for

ATTRS = {"tbon.fanout": "2", "log-stderr-level": "-1"}


@contextlib.contextmanager
def tree(attrs: Mapping[str, str] = ATTRS) -> Iterator[Instance]:
    with Instance(7, {**ATTRS, **attrs}, ["--test-exit-mode=leader"]) as instance:
        yield instance


@contextlib.contextmanager
def frozen(instance: Instance, rank: int) -> Iterator[None]:
    """A broker is stopped, and killed at the end."""
    pid = instance.broker_pid(rank)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)


def submit(instance: Instance, ranks: str, script: str, *options: str) -> str:
    count = str(len(flux.idset.IDset(ranks)))
    words = ["flux", "submit", f"-N{count}", f"-n{count}", f"--requires=rank:{ranks}", *options, "sh", "-c", script]
    result = instance.run(*words)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def wait(instance: Instance, job: str, event: str, *options: str) -> None:
    result = instance.run("flux", "job", "wait-event", "-t", "60", *options, job, event)
    assert result.returncode == 0, result.stderr


def attach(instance: Instance, job: str) -> subprocess.CompletedProcess[str]:
    return instance.run("flux", "job", "attach", job)


def test_jobs_on_ranks_whose_parent_dies_lose_nothing_they_write(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"echo $FLUX_TASK_RANK early; while [ ! -e {go} ]; do sleep 0.02; done; seq 1 200; exit 3"
    with tree() as instance:
        below, across = submit(instance, "3-4", script), submit(instance, "2-4", script)
        for job in (below, across):
            wait(instance, job, "shell.start", "-p", "exec")
        pids = [pid for rank in (3, 4) for pid in shells(instance, rank)]
        assert len(pids) == 4
        with frozen(instance, 1):
            # the tasks end while nobody can be told
            go.touch()
            wait_for(lambda: not any(children(pid) for pid in pids), what="the tasks have ended")
        for job, tasks in ((below, 2), (across, 3)):
            result = attach(instance, job)
            assert result.returncode == 3, result.stderr
            lines = result.stdout.split("\n")
            for number in range(1, 201):
                assert lines.count(str(number)) == tasks, f"{job}: line {number}"
            assert sum(line.endswith("early") for line in lines) == tasks


def shells(instance: Instance, rank: int) -> list[int]:
    with flux.Flux(instance.uri_of(rank)) as handle:
        return [process["pid"] for process in handle.rpc("rexec.list", nodeid=rank).get()["procs"]]


def children(pid: int) -> list[str]:
    """Process ids of those that a process has started and not yet waited for."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_job_is_canceled_though_the_way_to_it_breaks() -> None:
    with tree() as instance:
        job = submit(instance, "3", "trap 'echo term; exit 0' TERM; while :; do sleep 0.1; done")
        wait(instance, job, "shell.start", "-p", "exec")
        with frozen(instance, 1):
            assert instance.run("flux", "cancel", job).returncode == 0
        wait(instance, job, "clean")
        assert "term" in attach(instance, job).stdout
        wait_for(lambda: shells(instance, 3) == [], what="the end of the shell")


def test_a_job_knows_which_of_its_brokers_died_and_others_do_not_notice(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with tree() as instance:
        doomed = submit(instance, "1,3", "sleep 300")
        healthy = submit(instance, "2-4", f"while [ ! -e {go} ]; do sleep 0.02; done")
        for job in (doomed, healthy):
            wait(instance, job, "shell.start", "-p", "exec")
        with frozen(instance, 1):
            pass
        wait(instance, doomed, "clean")
        result = attach(instance, doomed)
        assert result.returncode != 0 and "node-failure" in result.stderr and "(rank 1)" in result.stderr
        go.touch()
        result = attach(instance, healthy)
        assert (result.returncode, result.stderr) == (0, "")


def test_commits_and_watches_below_a_dead_broker_go_on() -> None:
    with tree() as instance, flux.Flux(instance.uri_of(3)) as writer, flux.Flux(instance.uri_of(4)) as reader:
        commit_async(writer, KVSTxn().put("value", 0), namespace="primary").get()
        watch = watch_async(reader, "value", FLUX_KVS_WATCH, "primary")
        assert watch.value() == b"0"
        with frozen(instance, 1):
            numbers = range(1, 100)
            commits = [commit_async(writer, KVSTxn().append("log", f"{n}\n"), namespace="primary") for n in numbers]
            commits.append(commit_async(writer, KVSTxn().put("value", 1), namespace="primary"))
            writer.rpc("kvs.ping", {}, nodeid=3).get()  # they are on their way
        for commit in commits:
            commit.wait_for(60)
            commit.get()
        flux.kvs.wait_version_async(reader, commits[-1].get()["rootseq"], "primary").wait_for(60)
        log = flux.kvs.lookup_async(reader, "log", namespace="primary").value()
        assert log.decode().split() == [str(n) for n in numbers]
        watch.reset()
        watch.wait_for(60)
        assert watch.value() == b"1"


def test_a_rank_that_has_missed_events_reads_the_roots_anew() -> None:
    few = {"tbon.event-backlog": "5", "tbon.parent-timeout": "4s", "tbon.torpid_min": "0.2s"}
    with tree(few) as instance, flux.Flux(instance.uri_of(3)) as reader, flux.Flux(instance.uri) as writer:
        commit_async(writer, KVSTxn().put("value", 0), namespace="primary").get()
        watch = watch_async(reader, "value", FLUX_KVS_WATCH, "primary")
        assert watch.value() == b"0"
        with frozen(instance, 1):
            for number in range(1, 51):
                root = commit_async(writer, KVSTxn().put("value", number), namespace="primary").get()
            while watch.value() != b"50":
                watch.reset()
                watch.wait_for(60)
            reader.rpc("kvs.wait-version", {"namespace": "primary", "rootseq": root["rootseq"]}).wait_for(60)
            assert flux.kvs.lookup_async(reader, "value", namespace="primary").value() == b"50"


def test_barriers_outlive_a_broker_between_and_end_with_a_client_that_is_lost() -> None:
    with tree() as instance, contextlib.ExitStack() as stack:
        handles = {rank: stack.enter_context(flux.Flux(instance.uri_of(rank))) for rank in (0, 2, 3, 6)}
        with frozen(instance, 1):
            entered = [handles[rank].barrier("all", 3) for rank in (0, 3)]
            lost = [handles[rank].barrier("lost", 3) for rank in (0, 6)]
            handles[6].rpc("barrier.ping", {}).get()
            handles[6].rpc("barrier.ping", {}, nodeid=0).get()
        entered.append(handles[2].barrier("all", 3))
        for future in entered:
            future.wait_for(60)
            future.get()
        os.kill(instance.broker_pid(6), signal.SIGKILL)
        lost[0].wait_for(60)
        with pytest.raises(FluxError, match="ranks 6") as caught:
            lost[0].get()
        assert caught.value.errno == errno.ECANCELED
