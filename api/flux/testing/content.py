"""Checks that every content backing store passes; subclass them in a test file of yours.

    class TestMyStore(BackingStoreChecks):
        def open_store(self, folder):
            return MyStore(folder / "content")

    class TestMyModule(BackingModuleChecks):
        plugin = "my-content"            # a table of [modules], by its entry point
        def arguments(self, folder):
            return {"path": str(folder / "content")}

See `flux.backing` for the contract and RFC 10 for what it serves.
"""

from __future__ import annotations

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flux import kvs
from flux.backing import BackingStore
from flux.collecting import CollectingStore, Collector
from flux.content import load_async, store_async
from flux.errors import FluxError
from flux.kvs import KVSTxn
from flux.kvs.collect import collect
from flux.testing import Instance

__all__ = ["BackingModuleChecks", "BackingStoreChecks"]


def _pairs(*blobs: bytes) -> list[tuple[bytes, bytes]]:
    return [(hashlib.sha1(blob).digest(), blob) for blob in blobs]


def _checkpoint(sequence: int) -> dict[str, Any]:
    return {"version": 1, "rootref": "sha1-" + "0" * 40, "sequence": sequence, "timestamp": 1.5}


def _sweep(collector: Collector, info: dict[str, int], step: int) -> int:
    deleted = cursor = 0
    while cursor < info["high_water"]:
        count, cursor = collector.sweep(info["current_epoch"], cursor, info["high_water"], step, step)
        assert count <= step
        deleted += count
    return deleted


class BackingStoreChecks(ABC):
    """A store in its own right; digests are SHA-1."""

    @abstractmethod
    def open_store(self, folder: Path) -> BackingStore:
        """Open the store that lives in that folder, or make it. Opening it again finds what it held."""

    def test_blobs_of_all_sizes_come_back(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        blobs = _pairs(b"", b"\0", b"text", os.urandom(5000), b"again and again " * 10000, os.urandom(1 << 20))
        store.store(blobs)
        assert [store.load(digest) for digest, _ in blobs] == [blob for _, blob in blobs]
        store.close()

    def test_what_is_stored_twice_is_kept(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        blobs = _pairs(b"one", b"two")
        store.store(blobs)
        store.store(blobs + _pairs(b"three"))
        for digest, blob in blobs + _pairs(b"three"):
            store.validate(digest)
            assert store.load(digest) == blob
        store.close()

    def test_unknown_blobs_are_not_found(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        for ask in (store.load, store.validate):
            with pytest.raises(FileNotFoundError):
                ask(hashlib.sha1(b"never stored").digest())
        store.close()

    def test_nothing_can_be_stored(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        store.store([])
        assert not store.full
        store.close()

    def test_content_outlives_the_store(self, tmp_path: Path) -> None:
        first = self.open_store(tmp_path)
        first.store(_pairs(b"kept", b"long " * 10000))
        first.put_checkpoint(_checkpoint(7))
        first.close()
        second = self.open_store(tmp_path)
        for digest, blob in _pairs(b"kept", b"long " * 10000):
            assert second.load(digest) == blob
        assert second.checkpoints() == [_checkpoint(7)]
        second.close()

    def test_checkpoints_have_a_history(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        with pytest.raises(FileNotFoundError):
            store.checkpoints()
        for sequence in range(3):
            store.put_checkpoint(_checkpoint(sequence))
        assert store.checkpoints() == [_checkpoint(2), _checkpoint(1), _checkpoint(0)]
        for sequence in range(100):
            store.put_checkpoint(_checkpoint(sequence))
        kept = store.checkpoints()
        assert kept[0] == _checkpoint(99)
        assert len(kept) < 100
        store.close()

    def test_the_newest_checkpoint_can_be_alone(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        for sequence in range(3):
            store.put_checkpoint(_checkpoint(sequence), alone=sequence == 2)
        assert store.checkpoints() == [_checkpoint(2)]
        store.close()

    def test_garbage_goes_and_what_is_in_use_stays(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        if not isinstance(store, CollectingStore):
            pytest.skip("the store does not collect garbage")
        kept, garbage = _pairs(b"marked", b"stored again", b"loaded"), _pairs(*(b"%d" % n for n in range(20)))
        store.store(kept + garbage)
        collector = store.collector
        info = collector.info(0, True)
        assert info["candidates"] == len(kept + garbage)
        collector.mark(info["current_epoch"] + 1, [kept[0][0]])
        store.store([*kept[1:2], *_pairs(b"new")])
        store.load(kept[2][0])
        assert _sweep(collector, info, 4) == len(garbage)
        for digest, blob in kept + _pairs(b"new"):
            assert store.load(digest) == blob
        for digest, _ in garbage:
            with pytest.raises(FileNotFoundError):
                store.validate(digest)
        with pytest.raises(FluxError) as caught:
            collector.sweep(info["current_epoch"] + 1, 0, 1, 1, 1)
        assert caught.value.errno == errno.ESTALE
        again = collector.info(0, False)
        assert again["current_epoch"] == info["current_epoch"] + 1
        store.close()

    def test_statistics_are_json(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        store.store(_pairs(b"counted"))
        assert isinstance(msgspec.json.decode(msgspec.json.encode(store.stats())), dict)
        assert store.path
        store.close()


class BackingModuleChecks:
    """The store's module in an instance, in the place of content-sqlite."""

    plugin: str
    """Its name in `plugins.toml`, or what `use` takes: "package.module:Class", "file.py"."""

    def arguments(self, folder: Path) -> dict[str, str]:
        """Arguments of the module, so that its content is in that folder."""
        return {}

    def instance(self, folder: Path) -> Instance:
        """An instance of two brokers, to be entered, over the content in that folder."""
        given = self.arguments(folder).items()
        words = ", ".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in given)
        composition = folder / "plugins.toml"
        use = f'use = "{self.plugin}"\n' if set(self.plugin) & set(":/.") else ""
        name = "site-content" if use else self.plugin
        composition.write_text(
            'extends = "default"\n[modules.content-sqlite]\nenabled = false\n'
            f"[modules.{name}]\n{use}enabled = true\nargs = {{ {words} }}\n"
        )
        return Instance(2, args=[f"--plugins={composition}"])

    def test_blobs_are_served_from_the_store(self, tmp_path: Path) -> None:
        with self.instance(tmp_path) as instance:
            leader, follower = instance.handle(0), instance.handle(1)
            blobs = [b"", b"small", os.urandom(100_000)]
            digests = [store_async(follower, blob).get() for blob in blobs]
            direct = store_async(follower, b"past the cache", bypass_cache=True).get()
            leader.rpc("content.flush").get()
            for handle in (leader, follower):
                handle.rpc("content.dropcache").get()
                assert [load_async(handle, digest).get() for digest in digests] == blobs
                assert [load_async(handle, digest, bypass_cache=True).get() for digest in digests] == blobs
                assert load_async(handle, direct).get() == b"past the cache"
            assert leader.attr_get("content.backing-module")

    def test_errors_are_those_of_rfc_10(self, tmp_path: Path) -> None:
        with self.instance(tmp_path) as instance:
            handle = instance.handle(1)
            unknown = hashlib.sha1(b"never stored").digest()
            for digest, code in ((unknown, errno.ENOENT), (b"short", errno.EPROTO)):
                with pytest.raises(OSError) as caught:
                    load_async(handle, digest, bypass_cache=True).get()
                assert caught.value.errno == code
            with pytest.raises(FluxError) as refused:
                handle.rpc("content-backing.checkpoint-put", {"value": {"version": 9}}, nodeid=0).get()
            assert refused.value.errno == errno.EPROTO

    def test_garbage_of_the_key_value_store_is_collected(self, tmp_path: Path) -> None:
        with self.instance(tmp_path) as instance:
            handle = instance.handle(1)
            for value in (b"old" * 500, b"new" * 500):
                kvs.commit(handle, txn=KVSTxn().put_raw("value", value))
            handle.rpc("content.flush", nodeid=0).get()
            try:
                collect(handle)
            except FluxError as exc:
                assert exc.errno == errno.ENOSYS
                pytest.skip("the store does not collect garbage")
            load_async(handle, hashlib.sha1(b"new" * 500).digest(), bypass_cache=True).get()
            with pytest.raises(FileNotFoundError):
                load_async(handle, hashlib.sha1(b"old" * 500).digest(), bypass_cache=True).get()

    def test_a_restart_finds_the_key_value_store(self, tmp_path: Path) -> None:
        for value in range(3):
            with self.instance(tmp_path) as instance:
                handle = instance.handle(1)
                if value:
                    assert kvs.get(handle, "kept.value") == value - 1
                kvs.put(handle, "kept.value", value)
                kvs.commit(handle)
        with self.instance(tmp_path) as instance:
            checkpoints = instance.handle().rpc("content.checkpoint-get", nodeid=0).get()["value"]
            sequences = [checkpoint["sequence"] for checkpoint in checkpoints]
            assert sequences == sorted(sequences, reverse=True)
