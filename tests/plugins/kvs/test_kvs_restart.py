"""What becomes of the store over restarts, of its module and of the instance, with a backing store and without."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from kvs_kit import STORE, raises

from flux import kvs
from flux.constants import FLUX_KVS_SYNC
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance


def test_reloading_kvs_keeps_the_primary_namespace(instance):
    one = instance(size=1, args=STORE)
    handle = one.handle()
    kvs.commit(handle, txn=KVSTxn().put("kept", "z" * 100))
    before = kvs.getroot(handle)
    for module in ("kvs", "content-sqlite"):
        assert one.run("flux", "module", "reload", "--force", module).returncode == 0
    assert kvs.getroot(handle) == before
    assert kvs.get(handle, "kept") == "z" * 100


def test_a_killed_instance_finds_what_was_synced(tmp_path):
    attrs = {"statedir": str(tmp_path)}
    with Instance(attrs=attrs, args=STORE) as first:
        handle = first.handle()
        kvs.commit(handle, FLUX_KVS_SYNC, txn=KVSTxn().put("synced", [1, 2]).put("big", "z" * 5000))
        synced = kvs.getroot(handle)
        for i in range(100):
            kvs.commit_async(handle, KVSTxn().put(f"later.k{i}", i))
        first.kill()
    with Instance(attrs=attrs, args=STORE) as second:
        handle = second.handle()
        assert kvs.getroot(handle) == synced
        assert kvs.get(handle, "synced") == [1, 2]
        assert kvs.get(handle, "big") == "z" * 5000


@pytest.fixture
def volatile(tmp_path: Path) -> Iterator[Instance]:
    """Two brokers without a backing store."""
    text = (Path(__file__).parent / "store.toml").read_text()
    composition = tmp_path / "volatile.toml"
    composition.write_text(text.replace('[modules.content-sqlite]\nranks = "0"\n', ""))
    with Instance(size=2, args=[f"--plugins={composition}"]) as volatile:
        yield volatile


def test_without_a_backing_store_everything_but_durability_works(volatile):
    handle = volatile.handle(1)
    kvs.commit(handle, txn=KVSTxn().put("a", 1))
    assert kvs.get(handle, "a") == 1
    with raises(errno.ENOSYS):
        kvs.commit(handle, FLUX_KVS_SYNC, txn=KVSTxn())
    with raises(errno.ENOSYS):
        volatile.handle().rpc("content.flush").get()
    assert volatile.stop() == 0


def test_blobs_that_content_refused_are_stored_with_the_next_commit(volatile):
    handle = volatile.handle()
    assert volatile.run("flux", "module", "remove", "--force", "content").returncode == 0
    kvs.commit(handle, txn=KVSTxn().put("meanwhile", "z" * 200))
    assert volatile.run("flux", "module", "load", "content").returncode == 0
    kvs.commit(handle, txn=KVSTxn().put("after", 1))
    kvs.dropcache(volatile.handle(1))
    kvs.wait_version(volatile.handle(1), 2)
    assert kvs.get(volatile.handle(1), "meanwhile") == "z" * 200


def test_a_sha256_instance():
    with Instance(size=2, attrs={"content.hash": "sha256"}, args=STORE) as instance:
        handle = instance.handle(1)
        with raises(errno.EINVAL):
            kvs.namespace_create_async(handle, "ns", rootref=treeobj.blobref(treeobj.EMPTY_DIR)).get()
        kvs.namespace_create(handle, "ns")
        kvs.commit(handle, namespace="ns", txn=KVSTxn().put("a", "z" * 100))
        assert kvs.getroot(handle, "ns")["rootref"].startswith("sha256-")
        assert kvs.get(handle, "a", "ns") == "z" * 100
