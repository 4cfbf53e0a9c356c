"""Large directories in an instance: other ranks, restarts, dumps, repairs, collections and stock's sight of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flux.kvs
from flux.constants import FLUX_KVS_TREEOBJ
from flux.kvs import KVSTxn, treeobj
from flux.kvs.hdir import Hdir, decode_dir
from flux.testing import Instance

COUNT = 3000
NAMES = sorted(f"key{number}" for number in range(COUNT))


def fill(instance: Instance) -> None:
    txn = KVSTxn()
    for number in range(COUNT):
        txn.put(f"d.key{number}", number)
    flux.kvs.commit(instance.handle(), txn=txn.put("d.sub.x", "deep").put_raw("d.long", b"y" * 100))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with Instance(2, attrs={"statedir": str(tmp_path_factory.mktemp("state"))}) as instance:
        fill(instance)
        yield instance


def command(instance: Instance, *words: str) -> str:
    result = instance.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_rank_reads_it(running: Instance) -> None:
    handle = running.handle(1)
    rootseq = flux.kvs.getroot(running.handle())["rootseq"]
    flux.kvs.wait_version(handle, rootseq)
    assert flux.kvs.get(handle, "d.key77") == 77
    assert not flux.kvs.exists(handle, "d.key3000")
    directory = flux.kvs.get_dir(handle, "d")
    assert sorted([*NAMES, "long"]) == list(directory.files())
    assert list(directory.directories()) == ["sub"]
    assert [path for path, _, _ in flux.kvs.walk(directory)] == ["sub", ""]


def test_commands_see_a_directory_like_any_other(running: Instance) -> None:
    assert command(running, "kvs", "ls", "-1", "d").split() == sorted([*NAMES, "long", "sub"])
    assert "d.key9 = 9\n" in command(running, "kvs", "dir", "d")
    command(running, "kvs", "copy", "d", "copy")
    command(running, "kvs", "put", "copy.key1=changed")
    assert command(running, "kvs", "get", "d.key1", "copy.key1").split() == ["1", "changed"]
    command(running, "kvs", "move", "copy", "moved")
    command(running, "kvs", "unlink", "moved.key1")
    assert len(flux.kvs.get_dir(running.handle(), "moved")) == COUNT + 1
    assert "not empty" in running.run("flux", "kvs", "unlink", "moved").stderr
    command(running, "kvs", "unlink", "-R", "moved")


def test_a_dump_gives_the_same_root_and_a_collection_takes_nothing(running: Instance, tmp_path: Path) -> None:
    handle = running.handle()
    command(running, "dump", str(tmp_path / "a.tar"))
    command(running, "restore", "--key=again", str(tmp_path / "a.tar"))
    refs = [flux.kvs.lookup_async(handle, key, FLUX_KVS_TREEOBJ).get() for key in ("d", "again.d")]
    assert refs[0] == refs[1]
    command(running, "kvs", "sync")
    command(running, "gc")
    flux.kvs.dropcache(handle)
    assert "Total errors: 0" in running.run("flux", "fsck").stderr
    assert len(flux.kvs.get_dir(handle, "again.d")) == COUNT + 2
    command(running, "kvs", "unlink", "-R", "again")


def test_a_restart_reads_it_and_a_lost_bucket_costs_its_entries_alone(tmp_path: Path) -> None:
    attrs = {"statedir": str(tmp_path)}
    with Instance(1, attrs=attrs) as instance:
        fill(instance)
        ref = flux.kvs.lookup_async(instance.handle(), "d", FLUX_KVS_TREEOBJ).get()["data"][0]
        blob = instance.run("flux", "content", "load", ref).stdout
    node = decode_dir(blob.encode())
    assert isinstance(node, Hdir)
    with sqlite3.connect(tmp_path / "content.sqlite") as database:
        lost = bytes.fromhex(node.stored[0].removeprefix("sha1-"))
        assert database.execute("DELETE FROM objects WHERE hash = CAST(? AS TEXT)", (lost,)).rowcount == 1
    database.close()
    with Instance(1, attrs=attrs) as instance:
        assert "d: a bucket of the directory cannot be loaded" in instance.run("flux", "fsck").stderr
        for words in (["module", "remove", "kvs-watch"], ["module", "remove", "kvs"]):
            instance.run("flux", *words)
        assert "Total repairs: 1" in instance.run("flux", "fsck", "--repair").stderr
        command(instance, "module", "load", "kvs")
        left = len(flux.kvs.get_dir(instance.handle(), "d"))
        assert COUNT * 0.9 < left < COUNT
        command(instance, "kvs", "put", "d.new=1")
        assert len(flux.kvs.get_dir(instance.handle(), "d")) == left + 1


def test_an_instance_that_is_told_to_keeps_directories_plain(tmp_path: Path) -> None:
    with Instance(1, attrs={"kvs.maxdirent": "0"}) as instance:
        fill(instance)
        handle = instance.handle()
        obj = flux.kvs.lookup_async(handle, "d", FLUX_KVS_TREEOBJ).get()
        assert len(treeobj.decode(instance.run("flux", "content", "load", obj["data"][0]).stdout)["data"]) == COUNT + 2
        root = flux.kvs.getroot(handle)["rootref"]
        command(instance, "dump", str(tmp_path / "a.tar"))
        command(instance, "restore", "--key=again", str(tmp_path / "a.tar"))
        assert flux.kvs.lookup_async(handle, "again", FLUX_KVS_TREEOBJ).get()["data"] == [root]


def test_a_limit_that_is_none_stops_the_start() -> None:
    words = [str(Path(sys.executable).with_name("flux")), "start", "-Skvs.maxdirent=many", "true"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    assert "kvs.maxdirent is a number of directory entries" in result.stderr


def test_keys_are_copied_and_moved_between_namespaces(running: Instance) -> None:
    handle = running.handle()
    flux.kvs.namespace_create(handle, "other")
    flux.kvs.copy(handle, "d", "there.copy", namespace="other")
    flux.kvs.move(handle, "there.copy", "here", "other")
    assert flux.kvs.get(handle, "here.key5") == 5
    assert not flux.kvs.exists(handle, "there.copy", "other")
    before = flux.kvs.getroot(handle)["rootseq"]
    flux.kvs.move(handle, "here", "gone")
    assert flux.kvs.getroot(handle)["rootseq"] == before + 1
    with pytest.raises(FileNotFoundError, match="here: No such file"):
        flux.kvs.move(handle, "here", "again")
    both = [flux.kvs.copy_async(handle, "gone.key5", name) for name in ("five", "gone.five")]
    assert all(isinstance(future.get()["rootref"], str) for future in both)
    flux.kvs.move_async(handle, "five", "moved.five").get()
    assert flux.kvs.get(handle, "moved.five") == flux.kvs.get(handle, "gone.five") == 5
    command(running, "kvs", "unlink", "-R", "moved")
    command(running, "kvs", "unlink", "-R", "gone")
