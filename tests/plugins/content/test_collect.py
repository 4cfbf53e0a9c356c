"""Garbage collection: what is in use stays, whatever happens meanwhile; the rest goes (flux-gc(1))."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux import kvs
from flux.content import digest_of, load_async, store_async
from flux.errors import FluxError
from flux.hashes import hasher
from flux.kvs import KVSTxn, treeobj
from flux.kvs.collect import collect
from flux.testing import Instance
from flux_plugins.content_sqlite.database import Database

STORE = [f"--plugins={Path(__file__).parents[1] / 'kvs' / 'store.toml'}"]
LONG = b"x" * 500


def digest(blob: bytes) -> bytes:
    return hasher("sha1")(blob).digest()


@pytest.fixture
def database() -> Any:
    database = Database(":memory:")
    database.store([(digest(blob), blob) for blob in (b"a", b"b", b"c", b"d")])
    yield database
    database.close()


def present(database: Database, *blobs: bytes) -> list[bytes]:
    return [blob for blob in blobs if database.db.execute("SELECT 1 FROM objects WHERE object = ?", (blob,)).fetchone()]


def test_what_is_marked_stored_or_loaded_stays(database):
    info = database.collector.info(0, get_count=True)
    assert info == {"current_epoch": 0, "high_water": 4, "candidates": 4}
    assert database.collector.mark(1, [digest(b"a"), digest(b"unknown")]) == 1
    database.store([(digest(b"b"), b"b"), (digest(b"new"), b"new")])
    assert database.load(digest(b"c")) == b"c"
    assert database.collector.sweep(0, 0, 4, 10, 10) == (1, 4)
    assert present(database, b"a", b"b", b"c", b"d", b"new") == [b"a", b"b", b"c", b"new"]


def test_a_sweep_goes_by_steps(database):
    database.collector.info(0, False)
    assert database.collector.sweep(0, 0, 3, 1, 10) == (1, 1)
    assert database.collector.sweep(0, 1, 3, 10, 1) == (1, 2)
    assert database.collector.sweep(0, 2, 3, 10, 10) == (1, 3)
    assert present(database, b"a", b"b", b"c", b"d") == [b"d"]


def test_the_file_shrinks_step_by_step_when_much_of_it_is_free(tmp_path):
    path = tmp_path / "content.sqlite"
    database = Database(str(path), compress_from=1 << 30)
    blobs = [os.urandom(4000) for _ in range(6000)]
    database.store([(digest(blob), blob) for blob in blobs])
    database.put_checkpoint({"version": 1, "rootref": "sha1-x"})
    grown = database.stats()["dbfile_size"]
    info = database.collector.info(0, False)
    database.collector.mark(1, [digest(blob) for blob in blobs[::10]])
    assert database.collector.sweep(0, 0, info["high_water"], 10_000, 10_000) == (5400, info["high_water"] - 1)
    sizes = [database.stats()["dbfile_size"]]
    cursor = info["high_water"] - 1
    while cursor < info["high_water"]:
        deleted, cursor = database.collector.sweep(0, cursor, info["high_water"], 10_000, 10_000)
        assert deleted == 0
        sizes.append(database.stats()["dbfile_size"])
    assert grown > sizes[0] > sizes[-1]
    assert sizes[-1] < grown / 4
    assert all(database.load(digest(blob)) == blob for blob in blobs[::10])
    database.close()
    assert path.stat().st_size == sizes[-1]


def test_an_epoch_that_is_not_over_is_not_swept(database):
    for epoch in (0, 1):
        with pytest.raises(FluxError) as caught:
            database.collector.sweep(epoch, 0, 4, 10, 10)
        assert caught.value.errno == errno.ESTALE
        database.collector.info(0, False)
        database.collector.sweep(epoch, 0, 0, 10, 10)


def test_a_load_that_cannot_be_noted_stops_the_sweep(database):
    database.collector.info(0, False)
    database.db.execute("PRAGMA query_only = ON")
    assert database.load(digest(b"c")) == b"c"
    with pytest.raises(FluxError) as caught:
        database.collector.sweep(0, 0, 4, 10, 10)
    assert caught.value.errno == errno.EIO
    database.db.execute("PRAGMA query_only = OFF")
    assert database.collector.sweep(0, 0, 4, 10, 10) == (3, 4)
    assert present(database, b"a", b"b", b"c", b"d") == [b"c"]


def test_epochs_go_on_after_a_restart(tmp_path):
    path = str(tmp_path / "content.sqlite")
    for _ in range(2):
        database = Database(path)
        database.store([(digest(b"a"), b"a")])
        epoch = database.collector.info(0, False)["current_epoch"]
        database.collector.mark(epoch + 1, [digest(b"a")])
        assert database.collector.sweep(epoch, 0, 9, 10, 10) == (0, 9)
        database.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT epoch FROM objects").fetchall() == [(2,)]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2, args=STORE)


def on_disk(handle: Any, blob: bytes) -> bool:
    try:
        load_async(handle, digest(blob), bypass_cache=True).get()
    except FileNotFoundError:
        return False
    return True


def reread(handles: list[Any]) -> None:
    for handle in handles:
        kvs.dropcache(handle)


def test_all_namespaces_and_checkpoints_survive(running):
    first, second = running.handle(0), running.handle(1)
    kvs.namespace_create(first, "apart")
    kvs.commit(first, txn=KVSTxn().put_raw("a.b.value", LONG).append("log", b"1").put_raw("gone", b"g" * 500))
    kvs.commit(first, namespace="apart", txn=KVSTxn().put_raw("x", b"y" * 500))
    kvs.commit(first, txn=KVSTxn().append("log", b"2").unlink("gone"))
    first.rpc("content.flush").get()
    assert on_disk(first, b"g" * 500)
    done = collect(second)
    assert done.deleted >= 1
    assert not on_disk(first, b"g" * 500)
    reread([first, second])
    for handle in (first, second):
        assert kvs.lookup_async(handle, "a.b.value").value() == LONG
        assert kvs.lookup_async(handle, "log").value() == b"12"
        assert kvs.lookup_async(handle, "x", namespace="apart").value() == b"y" * 500
    kvs.namespace_create(second, "later")
    reread([first, second])
    assert list(kvs.get_dir(first, ".", "later")) == []
    for name in ("apart", "later"):
        kvs.namespace_remove(first, name)


def test_content_that_caches_know_is_stored_again():
    """The caches hold it, clean; the store must learn that it is in use once more."""
    with Instance(size=2, args=STORE) as running:
        _store_known_content_again(running.handle(0), running.handle(1))


def _store_known_content_again(first: Any, second: Any) -> None:
    blob = b"again" * 100
    for handle in (first, second):
        store_async(handle, blob).get()
    first.rpc("content.flush").get()
    info = first.rpc("content-backing.gc-info", {"epoch": 0}).get()
    second.rpc("content.dropcache").get()
    ref = treeobj.blobref(store_async(second, blob).get() and blob)
    kvs.commit(second, txn=KVSTxn().put_treeobj("again", treeobj.valref([ref])))
    first.rpc("content.flush").get()
    step = {"epoch": info["current_epoch"], "high_water": info["high_water"], "delete_cap": 100, "window": 10**6}
    first.rpc("content-backing.sweep", {**step, "cursor": 0}).get()
    assert load_async(first, digest_of(ref), bypass_cache=True).get() == blob


def test_nothing_is_removed_when_a_directory_is_missing(running):
    first = running.handle(0)
    garbage = b"garbage" * 100
    store_async(first, garbage).get()
    kvs.commit(first, txn=KVSTxn().put_treeobj("broken", treeobj.dirref(treeobj.blobref(b"never stored"))))
    with pytest.raises(FluxError, match="below"):
        collect(first)
    first.rpc("content.flush").get()
    assert on_disk(first, garbage)
    kvs.commit(first, txn=KVSTxn().unlink("broken"))
    assert "removed" in running.run("flux", "gc", "--verbose").stderr
    assert not on_disk(first, garbage)


def test_requests_are_checked(running):
    first = running.handle(0)
    for topic, payload in (
        ("mark", {"epoch": 1, "hashes": ["nonsense"]}),
        ("mark", {"epoch": 1, "hashes": ["x"] * 10_001}),
        ("sweep", {"epoch": 0, "cursor": 0, "high_water": 1, "delete_cap": 0, "window": 1}),
    ):
        with pytest.raises(FluxError) as caught:
            first.rpc(f"content-backing.{topic}", payload).get()
        assert caught.value.errno == errno.EINVAL
