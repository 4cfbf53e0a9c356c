"""Watching what a job's shells write, over the whole life of its namespace (RFC 41).

The test plays the execution service: it makes the namespace, writes, copies it and removes it.
"""

from __future__ import annotations

import errno
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import flux.kvs
from flux.errors import FluxError
from flux.job.fluid import encode
from flux.kvs.requests import getroot_async, namespace_create_async, namespace_remove_async
from flux.kvs.treeobj import dirref
from flux.kvs.txn import KVSTxn
from flux.message import FLAG_STREAMING
from flux.testing import Instance


class PlayedJob:
    """A job of which only the KVS knows."""

    def __init__(self, instance: Instance, jobid: int) -> None:
        self.handle = instance.handle()
        self.id = jobid
        self.key = encode(jobid, "kvs")
        self.namespace = f"job-{jobid}"

    def post(self, name: str, path: str = "eventlog", namespace: str | None = "primary", **context: Any) -> None:
        entry = json.dumps({"timestamp": 1.0, "name": name, "context": context}) + "\n"
        key = f"{self.key}.{path}" if namespace == "primary" else path
        flux.kvs.commit(self.handle, namespace=namespace, txn=KVSTxn().append(key, entry))

    def open_namespace(self) -> None:
        namespace_create_async(self.handle, self.namespace).get()
        link = KVSTxn().symlink(f"{self.key}.guest", ".", self.namespace)
        flux.kvs.commit(self.handle, namespace="primary", txn=link)
        self.post("start")

    def write(self, name: str, path: str = "exec.eventlog", **context: Any) -> None:
        self.post(name, path, self.namespace, **context)

    def close_namespace(self) -> None:
        root = getroot_async(self.handle, self.namespace).get()["rootref"]
        copy = KVSTxn().put_treeobj(f"{self.key}.guest", dirref(root))
        flux.kvs.commit(self.handle, namespace="primary", txn=copy)
        namespace_remove_async(self.handle, self.namespace).get()
        self.post("clean")

    def watch(self, flags: int = 1, path: str = "guest.exec.eventlog") -> Any:
        request = {"id": self.id, "path": path, "flags": flags}
        return self.handle.rpc("job-info.eventlog-watch", request, flags=FLAG_STREAMING)


def names(watch: Any) -> list[str | None]:
    return [None if answer is None else json.loads(answer["event"])["name"] for answer in watch]


def next_name(watch: Any) -> str:
    name: str = json.loads(watch.get()["event"])["name"]
    watch.reset()
    return name


@pytest.fixture
def job(instance: Callable[..., Instance], request: pytest.FixtureRequest) -> PlayedJob:
    job = PlayedJob(instance(), zlib.crc32(request.node.name.encode()))
    job.post("submit", userid=0)
    return job


def test_a_watch_that_begins_before_the_namespace_sees_everything_once(job: PlayedJob) -> None:
    watch = job.watch()
    job.open_namespace()
    job.write("init")
    assert next_name(watch) == "init"
    job.write("starting")
    assert next_name(watch) == "starting"
    job.close_namespace()
    assert names(watch) == []


def test_a_watch_that_begins_while_the_job_runs(job: PlayedJob) -> None:
    job.open_namespace()
    job.write("init")
    watch = job.watch()
    assert next_name(watch) == "init"
    job.write("done")
    assert names(watch) == ["done"]
    job.close_namespace()


def test_a_watch_that_begins_when_all_is_over(job: PlayedJob) -> None:
    job.open_namespace()
    for name in ("init", "starting", "done"):
        job.write(name)
    job.close_namespace()
    assert names(job.watch()) == ["init", "starting", "done"]


def test_output_goes_on_after_the_end_of_its_streams(job: PlayedJob) -> None:
    job.open_namespace()
    job.write("header", "output", version=1, count={"stdout": 1, "stderr": 0})
    watch = job.watch(path="guest.output")
    job.write("data", "output", stream="stdout", rank="0", eof=True)
    job.write("log", "output", rank=0, level=4, message="one more word")
    job.close_namespace()
    assert names(watch) == ["header", "data", "log"]


def test_the_sentinel_stands_after_what_was_there(job: PlayedJob) -> None:
    job.open_namespace()
    job.write("init")
    watch = job.watch(flags=2)
    assert next_name(watch) == "init"
    assert watch.get() is None
    watch.reset()
    job.write("done")
    assert names(watch) == ["done"]
    job.close_namespace()
    over = job.watch(flags=2)
    assert [next_name(over), next_name(over)] == ["init", "done"]
    assert over.get() is None
    over.reset()
    assert names(over) == []


def test_a_job_that_never_ran_ends_the_watch(job: PlayedJob) -> None:
    watch = job.watch()
    job.post("clean")
    assert names(watch) == []


def test_a_job_that_does_not_exist(instance: Callable[..., Instance]) -> None:
    with pytest.raises(FluxError, match="invalid job id") as caught:
        names(PlayedJob(instance(), 77).watch())
    assert caught.value.errno == errno.ENOENT


def test_cancelling_ends_the_watch_with_no_data(job: PlayedJob) -> None:
    job.open_namespace()
    job.write("init")
    watch = job.watch()
    assert next_name(watch) == "init"
    watch.cancel("job-info.eventlog-watch-cancel")
    assert names(watch) == []
    assert job.handle.rpc("job-info.stats-get").get()["guest_watchers"] == 0
    job.close_namespace()


def test_updates_of_R_are_followed_until_the_job_is_over(job: PlayedJob) -> None:
    R = {"version": 1, "execution": {"expiration": 5.0}}
    flux.kvs.commit(job.handle, namespace="primary", txn=KVSTxn().put(f"{job.key}.R", R))
    job.post("resource-update", expiration=6.0)
    watch = job.handle.rpc("job-info.update-watch", {"id": job.id, "key": "R", "flags": 0}, flags=FLAG_STREAMING)
    assert watch.get()["R"]["execution"]["expiration"] == 6.0
    watch.reset()
    job.post("memo", x=1)
    job.post("resource-update", expiration=7.0)
    assert watch.get()["R"]["execution"]["expiration"] == 7.0
    watch.reset()
    job.post("clean")
    assert list(watch) == []
    found = job.handle.rpc("job-info.lookup", {"id": job.id, "keys": ["R"], "flags": 2}).get()
    assert json.loads(found["R"])["execution"]["expiration"] == 7.0


@pytest.mark.parametrize(
    ("keys", "flags", "errnum", "text"),
    [
        (["nothing"], 0, errno.ENOENT, "nothing: key not found"),
        (["eventlog"], 8, errno.EPROTO, "lookup request rejected with invalid flag"),
    ],
)
def test_lookups_that_fail_say_why(job: PlayedJob, keys: list[str], flags: int, errnum: int, text: str) -> None:
    with pytest.raises(FluxError, match=text) as caught:
        job.handle.rpc("job-info.lookup", {"id": job.id, "keys": keys, "flags": flags}).get()
    assert caught.value.errno == errnum
