"""Namespaces of jobs: begun and ended with one request each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kvs_kit import STORE, raises

from flux import kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance, wait_for
from flux_plugins.kvs.leader import STORES_AT_ONCE

KEY = "job.x.guest"


@pytest.fixture(scope="module")
def pair() -> Iterator[Instance]:
    with Instance(2, args=STORE) as running:
        yield running


def append(text: str) -> list[dict[str, Any]]:
    return KVSTxn().append("exec.eventlog", text).ops


def value(handle: Any, name: str) -> bytes:
    return bytes(kvs.lookup_async(handle, f"{KEY}.{name}").value())


def value_in(handle: Any, namespace: str, key: str) -> bytes:
    return bytes(kvs.lookup_async(handle, key, namespace=namespace).value())


def link(handle: Any) -> Any:
    """What the job's key refers to; None when it is not there."""
    request = {"key": KEY, "flags": FLUX_KVS_TREEOBJ, "namespace": "primary"}
    try:
        return handle.rpc("kvs.lookup", request).get()["val"]
    except FileNotFoundError:
        return None


def begin(handle: Any, namespace: str, text: str, **more: Any) -> None:
    request = {"namespace": namespace, "key": KEY, "owner": 1234, "ops": append(text), **more}
    handle.rpc("kvs.guest-begin", request).get()


def end(handle: Any, namespace: str, text: str) -> None:
    handle.rpc("kvs.guest-end", {"namespace": namespace, "key": KEY, "ops": append(text)}).get()


@pytest.mark.parametrize("rank", [0, 1])
def test_what_a_job_wrote_stays_in_its_directory(pair: Instance, rank: int) -> None:
    handle, name = pair.handle(rank), f"job-{rank}"
    begin(handle, name, "begun\n")
    assert value_in(handle, name, "exec.eventlog") == b"begun\n"
    kvs.commit(handle, txn=KVSTxn().put("other", rank))
    assert link(pair.handle()) == treeobj.symlink(".", name)
    assert kvs.getroot(handle, name)["owner"] == 1234
    kvs.commit(handle, txn=KVSTxn().put_raw("output", b"said"), namespace=name)
    end(handle, name, "ended\n")
    kvs.wait_version(handle, kvs.getroot(pair.handle())["rootseq"])
    assert value(handle, "exec.eventlog") == b"begun\nended\n"
    assert value(handle, "output") == b"said"
    with raises(errno.ENOTSUP):
        kvs.getroot(handle, name)


def test_one_that_is_there_is_gone_on_with(pair: Instance) -> None:
    handle = pair.handle()
    kvs.namespace_create(handle, "job-5")
    kvs.commit(handle, txn=KVSTxn().append("exec.eventlog", "before\n"), namespace="job-5")
    begin(handle, "job-5", "begun\n")
    wait_for(lambda: link(handle) == treeobj.symlink(".", "job-5"), what="the link, without another commit")
    assert value(handle, "exec.eventlog") == b"before\nbegun\n"
    end(handle, "job-5", "ended\n")


@pytest.mark.parametrize("rank", [0, 1])
def test_others_are_told_of_one_from_when_somebody_asks(pair: Instance, rank: int) -> None:
    events, name = pair.handle(1), f"told-{rank}"
    events.event_subscribe("kvs.namespace-")
    for asks in (False, True):
        begin(events, name, "begun\n")
        kvs.commit(events, txn=KVSTxn().put("a", 1), namespace=name)
        if asks:
            assert kvs.getroot(pair.handle(rank), name)["rootseq"] == 1
        kvs.commit(events, txn=KVSTxn().put("a", 2), namespace=name)
        end(events, name, "ended\n")
    told = iter(lambda: events.event_recv().topic.removeprefix(f"kvs.namespace-{name}-"), "removed")
    assert [what for what in told if "primary" not in what] == ["setroot", "setroot"]


@pytest.mark.parametrize("rank", [0, 1])
def test_first_events_are_seen_by_whoever_looks(pair: Instance, rank: int) -> None:
    handle = pair.handle(rank)
    for n in range(5):
        begin(pair.handle(), f"first-{rank}-{n}", "begun\n")
        pair.handle().rpc("kvs.dropcache").get()
        assert value_in(handle, f"first-{rank}-{n}", "exec.eventlog") == b"begun\n"


def test_a_watch_sees_all_that_a_job_writes(pair: Instance) -> None:
    handle = pair.handle(1)
    begin(handle, "job-7", "0")
    watch = kvs.watch_async(handle, "exec.eventlog", namespace="job-7")
    seen = [bytes(watch.value())]
    for n in "123":
        kvs.commit(pair.handle(), txn=KVSTxn().append("exec.eventlog", n), namespace="job-7")
    while seen[-1] != b"0123":
        watch.reset()
        seen.append(bytes(watch.value()))
    end(handle, "job-7", "")
    assert all(b"0123".startswith(value) for value in seen)


def test_while_there_is_no_room_nothing_is_done(pair: Instance) -> None:
    handle = pair.handle()
    begin(handle, "job-6", "begun\n")
    handle.event_send("content.full", {"full": True})
    try:
        with raises(errno.ENOSPC):
            end(handle, "job-6", "ended\n")
        with raises(errno.ENOSPC):
            begin(handle, "job-7", "begun\n")
    finally:
        handle.event_send("content.full", {"full": False})
    assert "job-7" not in [found["namespace"] for found in kvs.namespace_list_async(handle).get()["namespaces"]]
    end(handle, "job-6", "ended\n")
    assert value(handle, "exec.eventlog") == b"begun\nended\n"


def test_what_was_answered_last_is_on_record_at_the_end(tmp_path: Path) -> None:
    with Instance(1, {"statedir": str(tmp_path)}, STORE) as first:
        begin(first.handle(), "job-1", "begun\n")
    with Instance(1, {"statedir": str(tmp_path)}, STORE) as second:
        assert link(second.handle()) == treeobj.symlink(".", "job-1")
        with raises(errno.ENOTSUP):
            kvs.getroot(second.handle(), "job-1")


def test_what_cannot_be_is_refused(pair: Instance) -> None:
    handle = pair.handle()
    with raises(errno.ENOTSUP):
        end(handle, "job-none", "ended\n")
    with raises(errno.EINVAL):
        begin(handle, "job-8", "begun\n", key="")
    with raises(errno.EPROTO):
        begin(handle, "job-9", "begun\n", ops=[{"key": "a", "flags": 0, "dirent": {"type": "none"}}])


def test_first_events_are_seen_while_content_is_far_behind(tmp_path: Path) -> None:
    text = Path(STORE[0].partition("=")[2]).read_text()
    composition = tmp_path / "held.toml"
    held = Path(__file__).with_name("held_content.py")
    composition.write_text(text.replace("[modules.content]", f"[modules.content]\nuse = '{held}'"))
    with Instance(1, args=[f"--plugins={composition}"]) as running:
        handle = running.handle()
        handle.event_publish("content-held.hold")
        for n in range(STORES_AT_ONCE):
            kvs.commit(handle, txn=KVSTxn().put("n", n))
        late = kvs.commit_async(handle, txn=KVSTxn().put("late", 1))
        begin(handle, "job-1", "begun\n")
        assert value_in(handle, "job-1", "exec.eventlog") == b"begun\n"
        assert not late.is_ready()
        handle.event_publish("content-held.release")
        late.get()
