"""The content service of a running instance: limits, attributes, files as blobs, a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flux.kvs
from flux.content import load_async, store_async
from flux.errors import FluxError
from flux.message import NODEID_UPSTREAM
from flux.testing import Instance, wait_for

Instances = Callable[..., Instance]
STORE = Path(__file__).parents[1] / "kvs" / "store.toml"


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def attribute(handle: Any, name: str) -> str:
    return str(handle.rpc("attr.get", {"name": name}).get()["value"])


def test_accounting_is_live(instance: Instances) -> None:
    handle = instance(2, args=[f"--plugins={STORE}"]).handle()  # without services that store something at any time
    handle.rpc("content.flush").get()
    handle.rpc("content.dropcache").get()
    assert [attribute(handle, f"content.acct-{name}") for name in ("entries", "valid", "dirty", "size")] == ["0"] * 4
    store_async(handle, b"x" * 1000).get()
    assert attribute(handle, "content.acct-entries") == attribute(handle, "content.acct-valid") == "1"
    assert attribute(handle, "content.acct-size") == "1000"
    handle.rpc("content.flush").get()
    assert attribute(handle, "content.acct-dirty") == attribute(handle, "content.flush-batch-count") == "0"
    with pytest.raises(OSError):
        handle.rpc("attr.set", {"name": "content.acct-size", "value": "1"}).get()


@pytest.mark.parametrize("rank", [0, 1])
def test_the_blob_size_limit_holds_and_can_be_changed(instance: Instances, rank: int) -> None:
    handle = instance(2, attrs={"content.blob-size-limit": "1000"}).handle(rank)
    store_async(handle, b"x" * 1000).get()
    with pytest.raises(FluxError, match="blob-size-limit") as caught:
        store_async(handle, b"x" * 1001).get()
    assert caught.value.errno == errno.EFBIG
    for name in ("content.blob-size-limit", "content.purge-old-entry", "content.flush-batch-limit"):
        before = attribute(handle, name)
        with pytest.raises(FluxError, match="not 'many'") as caught:
            handle.rpc("attr.set", {"name": name, "value": "many"}).get()
        assert caught.value.errno == errno.EINVAL
        assert attribute(handle, name) == before
    setting = {"name": "content.blob-size-limit", "value": "999"}
    handle.rpc("attr.set", setting).get()
    with pytest.raises(FluxError, match="blob-size-limit"):
        store_async(handle, b"y" * 1000).get()
    handle.rpc("attr.set", {**setting, "value": "1000"}).get()


@pytest.mark.parametrize("rank", [0, 1])
def test_errors_of_a_load(instance: Instances, rank: int) -> None:
    handle = instance(2).handle(rank)
    for bypass in (False, True):
        with pytest.raises(FileNotFoundError):
            load_async(handle, sha1(b"unknown"), bypass).get()
        with pytest.raises(OSError) as caught:
            load_async(handle, b"short", bypass).get()
        assert caught.value.errno == errno.EPROTO


def test_a_load_finds_what_a_store_before_it_is_still_writing(instance: Instances) -> None:
    handle = instance(1).handle()
    blobs = [os.urandom(1 << 20) for _ in range(8)]
    stored = [store_async(handle, blob, bypass_cache=True) for blob in blobs]
    loaded = [load_async(handle, sha1(blob), bypass_cache=True) for blob in reversed(blobs)]
    assert [load.get() for load in reversed(loaded)] == blobs
    assert [store.get() for store in stored] == [sha1(blob) for blob in blobs]


def test_nobody_is_upstream_of_rank_0(instance: Instances) -> None:
    with pytest.raises(OSError) as caught:
        instance(2).handle(0).rpc("content.load", None, NODEID_UPSTREAM).get()
    assert caught.value.errno == errno.EHOSTUNREACH


def test_purge_on_the_heartbeat_keeps_to_the_target_size() -> None:
    with Instance(2, attrs={"content.purge-target-size": "0", "content.purge-old-entry": "0"}) as instance:
        blob = b"purge me" * 1000
        for rank in range(2):
            handle = instance.handle(rank)
            assert store_async(handle, blob).get() == sha1(blob)
            instance.handle(0).rpc("content.flush").get()
            wait_for(lambda handle=handle: int(attribute(handle, "content.acct-size")) < len(blob), what="purge")
            assert load_async(handle, sha1(blob)).get() == blob


@pytest.mark.parametrize("rank", [0, 1])
def test_blobs_do_not_pile_up_between_two_heartbeats(rank: int) -> None:
    attrs = {"content.purge-target-size": "100000", "content.purge-old-entry": "1000"}
    with Instance(2, attrs=attrs) as instance:
        handle = instance.handle(rank)
        blobs = [bytes([number]) * 10_000 for number in range(90)]
        for blob in blobs:
            store_async(handle, blob).get()
        instance.handle(0).rpc("content.flush").get()
        assert int(attribute(handle, "content.acct-size")) <= 500_000
        for blob in blobs:
            assert load_async(handle, sha1(blob)).get() == blob
        assert int(attribute(handle, "content.acct-size")) <= 500_000


def test_files_are_served_as_blobs_until_removed_or_changed(instance: Instances, tmp_path: Path) -> None:
    running = instance(2)
    leader, follower = running.handle(0), running.handle(1)
    data = os.urandom(250)
    path = tmp_path / "mapped"
    path.write_bytes(data)
    leader.rpc("content.mmap-add", {"path": str(path), "chunksize": 100, "tag": "t"}).get()
    mapped = leader.rpc("content.stats-get").get()["mmap"]
    assert mapped == {"tags": {"t": [str(path)]}, "blobs": 3}
    assert load_async(follower, sha1(data[100:200])).get() == data[100:200]
    assert load_async(leader, sha1(data[200:])).get() == data[200:]
    path.write_bytes(b"changed")
    with pytest.raises(FileNotFoundError):
        load_async(leader, sha1(data[:100])).get()
    leader.rpc("content.mmap-remove", {"tag": "t"}).get()
    leader.rpc("content.mmap-remove", {"tag": "unknown"}).get()
    assert leader.rpc("content.stats-get").get()["mmap"] == {"tags": {}, "blobs": 0}


@pytest.mark.parametrize(
    ("rank", "path", "chunksize", "code"),
    [
        (0, "relative", 1, errno.EINVAL),
        (0, "/nonexistent/file", 1, errno.ENOENT),
        (0, "/tmp", 1, errno.EINVAL),
        (0, "/etc/passwd", -1, errno.EPROTO),
        (0, "/etc/passwd", 1 << 31, errno.EFBIG),
        (1, "/etc/passwd", 1, errno.EINVAL),
    ],
)
def test_files_that_cannot_be_mapped(instance: Instances, rank: int, path: str, chunksize: int, code: int) -> None:
    with pytest.raises(OSError) as caught:
        request = {"path": path, "chunksize": chunksize, "tag": "t"}
        instance(2).handle(rank).rpc("content.mmap-add", request).get()
    assert caught.value.errno == code


@pytest.mark.parametrize("name", ["sha256", "blake3"])
def test_other_hashes(name: str) -> None:
    if name == "blake3":
        pytest.importorskip("blake3")
    with Instance(2, attrs={"content.hash": name}) as instance:
        handle = instance.handle(1)
        digest = store_async(handle, b"hash me").get()
        assert len(digest) == 32
        assert load_async(instance.handle(0), digest).get() == b"hash me"
        flux.kvs.put(handle, "a.b", 1)
        flux.kvs.commit(handle)
        assert flux.kvs.get(handle, "a.b") == 1
        assert handle.rpc("kvs.getroot", {"namespace": "primary"}).get()["rootref"].startswith(f"{name}-")


def test_the_backing_path_is_imported_by_the_next_instance(tmp_path: Path) -> None:
    attrs = {"content.backing-path": str(tmp_path / "my.sqlite")}
    with Instance(1, attrs=attrs) as instance:
        handle = instance.handle()
        flux.kvs.put(handle, "kept", "yes")
        flux.kvs.commit(handle)
    with Instance(1, attrs=attrs) as instance:
        assert flux.kvs.get(instance.handle(), "kept") == "yes"


def test_a_flipped_bit_is_reported_and_never_served(tmp_path: Path) -> None:
    import sqlite3

    with Instance(1, attrs={"statedir": str(tmp_path)}) as instance:
        handle = instance.handle()
        digest = store_async(handle, b"truth").get()
        handle.rpc("content.flush").get()
        handle.rpc("content.dropcache").get()
        with sqlite3.connect(tmp_path / "content.sqlite") as raw:
            raw.execute("UPDATE objects SET object = ? WHERE object = ?", (b"trutg", b"truth"))
        raw.close()
        with pytest.raises(OSError, match="damaged") as caught:
            load_async(handle, digest).get()
        assert caught.value.errno == errno.EIO


def test_without_a_backing_store(tmp_path: Path) -> None:
    composition = tmp_path / "memory.toml"
    composition.write_text(STORE.read_text().replace('[modules.content-sqlite]\nranks = "0"\n', ""))
    with Instance(1, args=[f"--plugins={composition}"]) as instance:
        handle = instance.handle()
        digest = store_async(handle, b"in memory").get()
        assert load_async(handle, digest).get() == b"in memory"
        for request, code in (
            (handle.rpc("content.flush"), errno.ENOSYS),
            (handle.rpc("content.checkpoint-get"), errno.ENOSYS),
            (load_async(handle, digest, bypass_cache=True), errno.ENOSYS),
            (load_async(handle, bytes(20)), errno.ENOENT),
        ):
            with pytest.raises(OSError) as caught:
                request.get()
            assert caught.value.errno == code


@pytest.mark.parametrize("module", ["content-sqlite", "content-files"])
def test_a_full_disk_makes_the_instance_read_only_until_there_is_room(small_disk: Path, module: str) -> None:
    attrs = {"statedir": str(small_disk)}
    composition = small_disk.parent / "plugins.toml"
    others = {"content-sqlite", "content-files"} - {module}
    composition.write_text(
        f'extends = "default"\n[modules.{module}]\nenabled = true\n[modules.{others.pop()}]\nenabled = false\n'
    )
    args = [f"--plugins={composition}"]
    ballast = small_disk / "ballast"
    with Instance(2, attrs=attrs, args=args) as instance:
        handle, other = instance.handle(0), instance.handle(1)
        flux.kvs.put(handle, "before", 1)
        flux.kvs.commit(handle)
        handle.rpc("content.flush").get()
        with pytest.raises(OSError), ballast.open("wb") as file:
            while file.write(b"x" * 65536):
                file.flush()
        acknowledged = store_async(handle, os.urandom(1 << 20)).get()
        handle.rpc("content.flush").get()  # the reserve takes it
        wait_for(lambda: handle.rpc("content.stats-get").get()["full"], what="full")
        for refused in (handle, other):
            with pytest.raises(OSError) as caught:
                store_async(refused, b"more than there is room for").get()
            assert caught.value.errno == errno.ENOSPC
            flux.kvs.put(refused, "during", 1)
            with pytest.raises(OSError) as caught:
                flux.kvs.commit(refused)
            assert caught.value.errno == errno.ENOSPC
            assert flux.kvs.get(refused, "before") == 1
        assert "read-only" in instance.run("flux", "dmesg").stdout
        assert "  content store full: read-only\n" in instance.run("flux", "uptime", rank=1).stdout
        ballast.unlink()
        wait_for(lambda: not handle.rpc("content.stats-get").get()["full"], what="room")
        for accepted in (handle, other):
            flux.kvs.put(accepted, f"after{accepted.rpc('attr.get', {'name': 'rank'}).get()['value']}", 1)
            flux.kvs.commit(accepted)
    with Instance(1, attrs=attrs, args=args) as again:
        handle = again.handle()
        assert [flux.kvs.get(handle, key) for key in ("before", "after0", "after1")] == [1, 1, 1]
        assert sha1(load_async(handle, acknowledged).get()) == acknowledged
