"""Watches of a running instance, from another rank than the one that commits (flux_kvs_lookup(3), FLUX_KVS_WATCH)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kvs_kit import STORE
from kvs_world import expect

import flux
from flux import kvs
from flux.constants import (
    FLUX_KVS_TREEOBJ,
    FLUX_KVS_WAITCREATE,
    FLUX_KVS_WATCH_APPEND,
    FLUX_KVS_WATCH_FULL,
    FLUX_KVS_WATCH_UNIQ,
)
from flux.kvs import KVSTxn
from flux.testing import Instance

WATCHERS = 2000


class Pair:
    """A writer on rank 0 and a reader on rank 1, in a namespace of their own."""

    def __init__(self, running: Instance, namespace: str) -> None:
        self.writer, self.reader = flux.Flux(running.uri), flux.Flux(running.uri_of(1))
        self.namespace = namespace
        kvs.namespace_create(self.writer, namespace)

    def commit(self, txn: KVSTxn) -> None:
        kvs.commit(self.writer, namespace=self.namespace, txn=txn)

    def put(self, key: str, *values: str) -> None:
        for value in values:
            self.commit(KVSTxn().put_raw(key, value))

    def watch(self, key: str, flags: int = 0) -> Any:
        return kvs.watch_async(self.reader, key, flags, self.namespace)

    def fetches(self) -> int:
        """Requests that the kvs module of the reader's rank has had, but for this one."""
        return int(self.reader.rpc("kvs.stats-get").get()["rx"]["request"])


@pytest.fixture
def pair(instance: Callable[..., Instance], request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(instance(2, args=STORE), f"watch-{request.node.name}")
    yield pair
    for handle in (pair.reader, pair.writer):
        handle.close()


def told(watch: Any, count: int) -> list[bytes]:
    values = []
    for _ in range(count):
        values.append(watch.value())
        watch.reset()
    return values


def test_every_value_is_told_and_uniq_leaves_equal_ones_out(pair: Pair) -> None:
    pair.put("key", "a")
    every, uniq = pair.watch("key"), pair.watch("key", FLUX_KVS_WATCH_UNIQ)
    assert told(every, 1) == told(uniq, 1) == [b"a"]
    pair.put("key", "a", "b", "b", "a")
    assert told(every, 4) == [b"a", b"b", b"b", b"a"]
    assert told(uniq, 2) == [b"b", b"a"]


def test_full_also_tells_what_a_change_above_the_key_has_done(pair: Pair) -> None:
    pair.put("new.key", "b")
    pair.put("dir.key", "a")
    full, plain = pair.watch("dir.key", FLUX_KVS_WATCH_FULL), pair.watch("dir.key")
    assert told(full, 1) == told(plain, 1) == [b"a"]
    new = kvs.lookup_async(pair.writer, "new", FLUX_KVS_TREEOBJ, pair.namespace).get()
    pair.commit(KVSTxn().put_treeobj("dir", new))
    pair.put("other", "x")
    assert told(full, 1) == [b"b"]
    pair.put("dir.key", "c")
    assert told(full, 1) == told(plain, 1) == [b"c"]
    pair.commit(KVSTxn().unlink("dir"))
    expect(errno.ENOENT, full.get)
    pair.commit(KVSTxn().unlink("dir.key"))
    expect(errno.ENOENT, plain.get)


def test_waitcreate_waits_for_the_key_and_ends_when_it_is_removed(pair: Pair) -> None:
    expect(errno.ENOENT, pair.watch("late").get)
    watch = pair.watch("late", FLUX_KVS_WAITCREATE)
    once = kvs.lookup_async(pair.reader, "late", FLUX_KVS_WAITCREATE, pair.namespace)
    pair.put("early", "x")
    pair.put("late", "a")
    assert told(watch, 1) == [b"a"] == [once.value()]
    pair.commit(KVSTxn().unlink("late"))
    expect(errno.ENOENT, watch.get)


def test_a_watcher_that_lags_gets_every_append_once_and_in_order(pair: Pair) -> None:
    pair.put("log", "begin")
    watch = pair.watch("log", FLUX_KVS_WATCH_APPEND)
    assert told(watch, 1) == [b"begin"]
    lines = [b"%d" % i + b"x" * 500 for i in range(2000)]
    for commit in [
        kvs.commit_async(pair.writer, KVSTxn().append("log", line), namespace=pair.namespace) for line in lines
    ]:
        commit.get()
    assert told(watch, len(lines)) == lines
    pair.put("log", "anew")
    expect(errno.EINVAL, watch.get)


def test_the_end_of_the_namespace_ends_every_watch(pair: Pair) -> None:
    pair.put("key", "a")
    modes = (0, FLUX_KVS_WATCH_UNIQ, FLUX_KVS_WATCH_FULL, FLUX_KVS_WATCH_APPEND)
    watches = [pair.watch("key", mode) for mode in modes]
    assert [told(watch, 1) for watch in watches] == [[b"a"]] * len(modes)
    waiting = pair.watch("never", FLUX_KVS_WAITCREATE)
    kvs.getroot(pair.reader, pair.namespace)
    kvs.namespace_remove(pair.writer, pair.namespace)
    for watch in (*watches, waiting):
        expect(errno.ENOTSUP, watch.get)


def test_a_canceled_watch_ends_and_others_go_on(pair: Pair) -> None:
    pair.put("key", "a")
    first, second = pair.watch("key"), pair.watch("key")
    assert told(first, 1) == told(second, 1) == [b"a"]
    first.cancel()
    expect(errno.ENODATA, first.get)
    pair.put("key", "b")
    assert told(second, 1) == [b"b"]


@pytest.mark.parametrize("keys", [WATCHERS, 1])
def test_a_change_costs_one_look_however_many_watch(pair: Pair, keys: int) -> None:
    txn = KVSTxn()
    for i in range(keys):
        txn.put_raw(f"d{i % 50}.k{i}", "0")
    pair.commit(txn)
    watches = [pair.watch(f"d{i % keys % 50}.k{i % keys}") for i in range(WATCHERS)]
    for watch in watches:
        assert told(watch, 1) == [b"0"]
    before = pair.fetches()
    for turn in b"123":
        pair.put("d0.k0", chr(turn))
        for watch in watches[:: max(1, keys)]:
            assert told(watch, 1) == [bytes([turn])]
    assert pair.fetches() - before == 3 + 1
