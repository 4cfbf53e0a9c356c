"""`flux fsck` finds what is missing or damaged in a real store, and mends it (flux-fsck(1))."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux import kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.content import digest_of, store_async
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance

STORE = [f"--plugins={Path(__file__).parents[1] / 'plugins' / 'kvs' / 'store.toml'}"]
GONE = treeobj.blobref(b"never stored")
JOB = "job.0000.0102.0304.0506"


class Store:
    """A running instance whose database can be damaged."""

    def __init__(self, path: Path) -> None:
        self.running = Instance(1, attrs={"statedir": str(path)}, args=STORE).start()
        self.handle = self.running.handle()
        self.file = path / "content.sqlite"

    def fsck(self, *words: str, code: int) -> str:
        done = self.running.run("flux", "fsck", *words)
        assert done.returncode == code, done.stderr
        return str(done.stderr)

    def commit(self, txn: KVSTxn) -> None:
        kvs.commit(self.handle, txn=txn)
        self.running.run("flux", "kvs", "sync", check=True)

    def sql(self, statement: str, ref: str, *values: Any) -> None:
        with sqlite3.connect(self.file) as db:
            assert db.execute(statement, (*values, digest_of(ref))).rowcount == 1
        db.close()
        self.handle.rpc("content.dropcache").get()

    def remove(self, ref: str) -> None:
        self.sql("DELETE FROM objects WHERE hash = CAST(? AS TEXT)", ref)

    def flip(self, ref: str) -> None:
        self.sql("UPDATE objects SET size = -1, object = ? WHERE hash = CAST(? AS TEXT)", ref, b"something else")

    def ref(self, key: str, index: int = 0) -> str:
        return str(kvs.lookup_async(self.handle, key, FLUX_KVS_TREEOBJ).get()["data"][index])

    def modules(self, action: str, *names: str) -> None:
        for name in names:
            self.running.run("flux", "module", action, name, check=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.running.stop()


def test_a_whole_store(store: Store) -> None:
    store.commit(KVSTxn().put_raw("a.b", b"x" * 500).mkdir("d").symlink("l", "a.b").put("v", 1))
    listed = store.fsck("--verbose", code=0)
    assert {line.removeprefix("flux-fsck: ") for line in listed.splitlines()} == {"a", "a.b", "d", "l", "v"} | {
        "Total errors: 0"
    }
    assert store.fsck("--quiet", code=0) == ""


def test_every_damage_is_found_and_mended(store: Store) -> None:
    part = [treeobj.blobref(blob) for blob in (b"one", b"three")]
    for blob in (b"one", b"three"):
        store_async(store.handle, blob).get()
    txn = KVSTxn().put_raw("v.flipped", b"f" * 500).put_raw("v.removed", b"r" * 500).put("v.good", 1)
    txn.put("d.lost.x", 1).put("d.damaged.x", 2).put("d.good.x", 3).put_treeobj("d.nodir", treeobj.dirref(part[0]))
    txn.put_treeobj("part", treeobj.valref([part[0], GONE, part[1]]))
    store.commit(txn)
    lost, damaged = store.ref("d.lost"), store.ref("d.damaged")
    store.remove(store.ref("v.removed"))
    store.flip(store.ref("v.flipped"))
    store.remove(lost)
    store.flip(damaged)
    report = store.fsck(code=1)
    for key in ("v.flipped", "v.removed", "d.lost", "d.damaged", "d.nodir", "part"):
        assert f"flux-fsck: {key}: " in report
    assert "Total errors: 6" in report
    assert "v.good" not in report
    assert "unload it" in store.fsck("--repair", code=1)
    store.modules("remove", "kvs-watch", "kvs")
    mended = store.fsck("--repair", code=1)
    assert "Total repairs: 3" in mended
    assert "Total unlinked: 3" in mended
    assert store.fsck("--quiet", code=0) == ""
    store.modules("load", "kvs", "kvs-watch")
    assert kvs.get(store.handle, "v.good") == 1
    assert kvs.get(store.handle, "d.good.x") == 3
    assert kvs.lookup_async(store.handle, "lost+found.part").value() == b"onethree"
    assert not kvs.exists(store.handle, "part")
    assert list(kvs.get_dir(store.handle, "d")) == ["good"]


def test_what_is_well_formed_of_a_directory_is_kept(store: Store) -> None:
    bad = treeobj.encode(treeobj.directory({"bad": {"data": 7, "type": "val", "ver": 1}, "good": treeobj.val(b"1")}))
    store_async(store.handle, bad).get()
    store.commit(KVSTxn().put("x", 1))
    store.modules("remove", "kvs-watch", "kvs")
    root = treeobj.encode(treeobj.directory({"d": treeobj.dirref(treeobj.blobref(bad))}))
    store_async(store.handle, root).get()
    store.running.run("flux", "content", "checkpoint", "update", treeobj.blobref(root), check=True)
    assert "d.bad: this is no tree object" in store.fsck(code=1)
    store.fsck("--repair", code=1)
    store.modules("load", "kvs", "kvs-watch")
    assert list(kvs.get_dir(store.handle, "d")) == ["good"]


def test_a_damaged_job_can_be_moved_as_a_whole(store: Store) -> None:
    store.commit(KVSTxn().put(f"{JOB}.R", 1).put_treeobj(f"{JOB}.log", treeobj.valref([GONE])))
    store.modules("remove", "kvs-watch", "kvs")
    store.fsck("--repair", "--job-aware", code=1)
    store.modules("load", "kvs", "kvs-watch")
    assert not kvs.exists(store.handle, JOB)
    assert kvs.get(store.handle, f"lost+found.{JOB}.R") == 1
    assert kvs.lookup_async(store.handle, f"lost+found.{JOB}.log").value() == b""


def test_a_root_that_cannot_be_read_is_passed_over(store: Store) -> None:
    store.commit(KVSTxn().put("old", 1))
    store.commit(KVSTxn().put("new", 1))
    store.modules("remove", "kvs-watch", "kvs")
    newest = store.handle.rpc("content.checkpoint-get").get()["value"]
    for ref in {checkpoint["rootref"] for checkpoint in newest if checkpoint["sequence"] == newest[0]["sequence"]}:
        store.remove(ref)
    assert ".: the directory cannot be loaded" in store.fsck(code=1)
    assert "cannot be used" in store.fsck("--repair", code=1)
    store.modules("load", "kvs", "kvs-watch")
    assert list(kvs.get_dir(store.handle)) == ["old"]


def test_any_root_can_be_checked(store: Store) -> None:
    store.commit(KVSTxn().put("d.x", 1))
    assert "Total errors: 0" in store.fsck(f"--rootref={store.ref('d')}", code=0)
    assert "no blobref" in store.fsck("--rootref=nonsense", code=1)
    blob = treeobj.blobref(b"text")
    store_async(store.handle, b"text").get()
    assert "this is no directory" in store.fsck(f"--rootref={blob}", code=1)
