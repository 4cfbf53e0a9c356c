"""`flux dump` and `flux restore` as a user runs them (flux-dump(1), flux-restore(1))."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux import kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.content import store_async
from flux.kvs import KVSTxn, treeobj
from flux.testing import Instance, wait_for

STORE = [f"--plugins={Path(__file__).parents[1] / 'plugins' / 'kvs' / 'store.toml'}"]
LONG = bytes(range(256)) * 20


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2, args=STORE)


@pytest.fixture
def handle(running: Instance) -> Any:
    handle = running.handle(1)
    txn = KVSTxn()
    for name in kvs.get_dir(handle):
        txn.unlink(name)
    kvs.commit(handle, txn=txn)
    return handle


def fill(handle: Any) -> str:
    """Everything a tree can hold; gives its root."""
    store_async(handle, b"s").get()
    txn = KVSTxn().put_raw("a.b", b"1").put_raw("a.long", LONG).put_raw("empty", b"").mkdir("d.e.f").mkdir("ver.type")
    txn.symlink("link", "a.b").symlink("far", "x.y", "other").put_raw("sl/ash.ä", b"v").put_raw("x" * 300, b"name")
    txn.append("log", b"one").put_treeobj("short", treeobj.valref([treeobj.blobref(b"s")]))
    kvs.commit(handle, txn=txn)
    kvs.commit(handle, txn=KVSTxn().append("log", b"").append("log", b"two"))
    return str(kvs.getroot(handle)["rootref"])


def flux(running: Instance, *words: str, code: int = 0, **options: Any) -> Any:
    done = running.run("flux", *words, **options)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_restored_directory_has_the_root_that_was_dumped(running, handle, tmp_path, suffix):
    rootref = fill(handle)
    path = str(tmp_path / f"out.{suffix}")
    assert "archived 11 keys" in flux(running, "dump", path).stderr
    assert list(tmp_path.iterdir()) == [Path(path)]
    flux(running, "restore", "--quiet", "--key=old.copy", path, rank=1)
    assert kvs.lookup_async(handle, "old.copy", FLUX_KVS_TREEOBJ).get() == treeobj.dirref(rootref)


def test_an_archive_holds_what_it_says(running, handle, tmp_path):
    fill(handle)
    path = tmp_path / "out.tar"
    listed = flux(running, "dump", "--verbose", str(path)).stderr.splitlines()
    with tarfile.open(path) as archive:
        members = {member.name: member for member in archive}
        assert archive.extractfile("a/long").read() == LONG
        assert archive.extractfile("log").read() == b"onetwo"
    assert set(listed) - {"flux-dump: archived 11 keys"} == set(members)
    assert (members["far"].linkname, members["link"].linkname) == ("other::x.y", "a.b")
    assert members["d/e/f"].isdir()


def test_an_archive_that_was_cut_short_is_refused(running, handle, tmp_path):
    fill(handle)
    path = tmp_path / "out.tar"
    flux(running, "dump", str(path))
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1024, 512):
        path.write_bytes(whole[:end])
        refused = flux(running, "restore", "--key=cut", str(path), code=1).stderr
        assert "whole tar archive" in refused or "cut short" in refused or "ends within" in refused
    assert not kvs.exists(handle, "cut")


def test_archives_of_others_are_taken(running, handle, tmp_path):
    path = tmp_path / "foreign.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in (("a/b", b"1"), ("c", LONG)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        directory = tarfile.TarInfo("a")
        directory.type = tarfile.DIRTYPE
        archive.addfile(directory)
    flux(running, "restore", "--key=new", "-", stdin=path.open("rb"), rank=1)
    assert kvs.lookup_async(handle, "new.a.b").value() == b"1"
    assert kvs.lookup_async(handle, "new.c").value() == LONG


def test_long_values_can_be_passed_over(running, handle, tmp_path):
    fill(handle)
    path = str(tmp_path / "out.tar")
    flux(running, "dump", path)
    done = flux(running, "restore", "--size-limit=1k", "--key=new", path, rank=1)
    assert "a.long: 5120 bytes" in done.stderr
    assert (kvs.exists(handle, "new.a.long"), kvs.exists(handle, "new.a.b")) == (False, True)


def test_what_cannot_be_loaded_ends_a_dump_or_is_passed_over(running, handle, tmp_path):
    gone = treeobj.blobref(b"never stored")
    txn = KVSTxn().put("good", 1).put_treeobj("bad.value", treeobj.valref([gone]))
    kvs.commit(handle, txn=txn.put_treeobj("bad.dir", treeobj.dirref(gone)))
    path = tmp_path / "out.tar"
    assert "bad." in flux(running, "dump", str(path), code=1).stderr
    assert list(tmp_path.iterdir()) == []
    passed_over = flux(running, "dump", "--ignore-failed-read", str(path)).stderr
    assert "bad.value: " in passed_over
    assert "bad.dir: " in passed_over
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["good"]


def test_a_checkpoint_is_dumped_and_restored_without_a_kvs(running, handle, tmp_path):
    rootref = fill(handle)
    path = str(tmp_path / "out.tar")
    flux(running, "kvs", "sync")
    kvs.commit(handle, txn=KVSTxn().put("later", 1))
    flux(running, "dump", "--checkpoint", "--no-cache", path)
    assert "unload it" in flux(running, "restore", "--checkpoint", path, code=1).stderr
    for module in ("kvs-watch", "kvs"):
        flux(running, "module", "remove", module)
    flux(running, "restore", "--checkpoint", "--no-cache", path)
    for module in ("kvs", "kvs-watch"):
        flux(running, "module", "load", module)
    assert kvs.getroot(running.handle(0))["rootref"] == rootref
    wait_for(
        lambda: kvs.getroot(handle)["rootref"] == rootref, what="rank 1 told of the root, though its own was later"
    )
    kvs.commit(handle, txn=KVSTxn().put("later", 2))
    assert kvs.get(handle, "later") == 2


def test_a_restore_needs_a_target(running):
    assert "--checkpoint or --key" in flux(running, "restore", "/dev/null", code=1).stderr
