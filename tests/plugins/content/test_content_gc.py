"""Garbage collection that is always on: what is in use stays, the file stays bounded (flux-gc(1))."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flux.kvs as kvs
from flux.content import digest_of, load_async, store_async
from flux.kvs import KVSTxn, treeobj
from flux.message import FLAG_STREAMING
from flux.testing import Instance, wait_for
from flux_plugins.content_gc.history import History

STORE = Path(__file__).parents[1] / "kvs" / "store.toml"
HEARTBEAT = "[modules.heartbeat]"
GC = "[modules.content-gc]\nargs = { threshold = 50, share = 0.0, grace = 0.0, step = 100 }\n"


def start(folder: Path) -> Instance:
    composition = folder / "gc.toml"
    store = STORE.read_text().replace(HEARTBEAT, f"{HEARTBEAT}\nargs = {{ period = 0.02 }}")
    composition.write_text(store + GC)
    return Instance(2, attrs={"statedir": str(folder)}, args=[f"--plugins={composition}"])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Instance]:
    with start(tmp_path) as running:
        yield running


def stats(handle: Any) -> dict[str, Any]:
    found: dict[str, Any] = handle.rpc("content-gc.stats-get", nodeid=0).get()
    return found


def churn(handle: Any, commits: int = 60) -> None:
    """Make garbage, enough for a round."""
    for _ in range(commits):
        kvs.commit(handle, txn=KVSTxn().put_raw("churn", os.urandom(2000)))


def rounds(handle: Any, count: int, after_each: Callable[[], object] = lambda: None) -> None:
    """Wait for so many more rounds, making garbage meanwhile, and calling `after_each` each time."""
    goal = stats(handle)["rounds"] + count

    def reached() -> bool:
        churn(handle, 20)
        after_each()
        return bool(stats(handle)["rounds"] >= goal)

    wait_for(reached, what=f"{count} rounds")


def test_epochs_ripen() -> None:
    history = History(grace=10)
    assert history.due(0)
    assert history.end(3, 0) is None
    assert (history.due(5), history.due(10)) == (False, True)
    assert history.end(4, 5) is None
    assert history.end(5, 11) == 3
    assert history.end(6, 100) == 5
    assert history.end(6, 200) == 5


def test_overwriting_a_key_keeps_the_file_bounded_and_every_reader_served(running: Instance, tmp_path: Path) -> None:
    first, second = running.handle(0), running.handle(1)
    kvs.namespace_create(first, "apart")
    kvs.commit(first, namespace="apart", txn=KVSTxn().put_raw("x", b"y" * 500))
    kvs.commit(first, txn=KVSTxn().put_raw("a.b.value", b"z" * 500).append("log", b"1"))
    kept = os.urandom(300)
    wrong: list[Exception] = []
    done = threading.Event()
    reads = 0

    def read() -> None:
        nonlocal reads
        handle = running.handle(1)
        while not done.is_set():
            try:
                assert kvs.lookup_async(handle, "a.b.value").value() == b"z" * 500
                assert len(kvs.lookup_async(handle, "churn").value()) == 2000
                handle.rpc("kvs.dropcache").get()
                handle.rpc("content.dropcache").get()
                reads += 1
            except Exception as exc:
                wrong.append(exc)
                return

    def pace() -> None:
        """No reader may take longer than a blob is kept, which is no time at all here, and two rounds."""
        before = reads
        wait_for(lambda: reads > before + 1 or wrong, what="two reads")

    churn(first)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        rounds(first, 2, pace)
        store_async(second, kept).get()
        kvs.commit(second, txn=KVSTxn().put_treeobj("kept", treeobj.valref([treeobj.blobref(kept)])))
        rounds(first, 6, pace)
    finally:
        done.set()
        reader.join()
    assert wrong == []
    assert stats(first)["removed"] > 100
    for handle in (first, second):
        for service in ("kvs", "content"):
            handle.rpc(f"{service}.dropcache").get()
    assert kvs.lookup_async(second, "kept").value() == kept
    assert kvs.lookup_async(second, "x", namespace="apart").value() == b"y" * 500
    assert kvs.lookup_async(second, "log").value() == b"1"
    assert stats(first)["failures"] == 0
    running.run("flux", "kvs", "sync", check=True)
    assert "Total errors: 0" in running.run("flux", "fsck").stderr


def test_the_room_of_what_was_removed_is_used_again(running: Instance) -> None:
    handle = running.handle(0)
    written = 0

    def bounded() -> bool:
        nonlocal written
        churn(handle, 50)
        written += 50 * 2000
        return bool(handle.rpc("content-sqlite.stats-get").get()["dbfile_size"] * 2 < written)

    wait_for(bounded, timeout=60, what="a file of half of what was written")


def test_nothing_is_removed_while_someone_holds_it_off(running: Instance) -> None:
    handle, holder = running.handle(0), running.handle(1)
    blob = os.urandom(500)
    ref = treeobj.blobref(blob)
    hold = holder.rpc("content-gc.hold", {}, 0, FLAG_STREAMING)
    wait_for(lambda: stats(handle)["held"], what="the hold")
    wait_for(lambda: not stats(handle)["collecting"], what="the end of the round")
    before = stats(handle)
    store_async(handle, blob).get()
    handle.rpc("content.flush").get()
    churn(handle, 200)
    assert stats(handle)["removed"] == before["removed"]
    assert load_async(handle, digest_of(ref), bypass_cache=True).get() == blob
    hold.cancel()
    wait_for(lambda: not stats(handle)["held"], what="the end of the hold")
    rounds(handle, 4)
    with pytest.raises(FileNotFoundError):
        load_async(handle, digest_of(ref), bypass_cache=True).get()


def test_a_round_that_cannot_be_made_removes_nothing(running: Instance) -> None:
    handle = running.handle(0)
    gone = treeobj.dirref(treeobj.blobref(b"never stored"))
    kvs.commit(handle, txn=KVSTxn().put_treeobj("broken", gone))
    churn(handle)
    wait_for(lambda: stats(handle)["failures"] > 0, what="a failure")
    assert stats(handle)["removed"] == 0
    assert "garbage cannot be collected" in running.run("flux", "dmesg").stdout
