"""Large directories: what is in them is what a dict would hold, one change stores little, and equal ones are one."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kvs_model import Store

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_TREEOBJ
from flux.errors import FluxError, ProtocolError
from flux.kvs import KVSTxn, treeobj
from flux.kvs.hdir import Hdir, bucket_of, decode_dir, encode_hdir
from flux_plugins.kvs.cache import Missing
from flux_plugins.kvs.commit import merge
from flux_plugins.kvs.transaction import Op, Transaction, check_ops

names = st.integers(0, 60).map(lambda number: f"k{number}")


class LargeAgainstDict(RuleBasedStateMachine):
    """A directory whose limit is a few entries, in an engine whose cache forgets nearly all, and a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(maxdirent=8, dirs_limit=600, blobs_limit=600)
        self.model: dict[str, bytes] = {}

    @rule(batch=st.dictionaries(names, st.binary(max_size=2) | st.none(), max_size=25), fails=st.booleans())
    def commit(self, batch: dict[str, bytes | None], fails: bool) -> None:
        """What fails comes after the changes, and takes them back."""
        txn = KVSTxn()
        for name, value in batch.items():
            if value is None:
                txn.unlink(f"d.{name}")
            else:
                txn.put_raw(f"d.{name}", value)
        if fails:
            txn.mkdir("d.sub").append("d.sub", b"x")
        update = self.store.commit(txn.ops)
        assert len(update.failed) == fails
        if not fails:
            merged: dict[str, bytes | None] = {**self.model, **batch}
            self.model = {name: value for name, value in merged.items() if value is not None}

    @rule(name=names)
    def look_up(self, name: str) -> None:
        try:
            found: Any = treeobj.decode_val(self.store.lookup(f"d.{name}"))
        except FluxError as exc:
            assert exc.errno == errno.ENOENT
            found = None
        assert found == self.model.get(name)

    @rule()
    def list(self) -> None:
        if "d" in self.store.tree():
            assert self.store.lookup("d", FLUX_KVS_READDIR)["data"].keys() == self.model.keys()

    @invariant()
    def is_the_same(self) -> None:
        assert self.store.tree().get("d", {}) == self.model
        assert self.store.rebuilt() == self.store.rootref


TestLargeAgainstDict = LargeAgainstDict.TestCase
TestLargeAgainstDict.settings = settings(max_examples=40, stateful_step_count=10)


def filled(count: int, **options: int) -> Store:
    store = Store(**options)
    txn = KVSTxn()
    for number in range(count):
        txn.put(f"d.key{number}", number)
    store.commit(txn.ops)
    return store


def test_a_directory_is_an_hdir_from_one_entry_above_the_limit_on_and_no_longer() -> None:
    store = filled(1024)

    def kind() -> type:
        return type(decode_dir(store.content[store.lookup("d", FLUX_KVS_TREEOBJ)["data"][0]]))

    before = store.rootref
    assert kind() is dict
    store.commit(KVSTxn().put("d.more", 1).ops)
    assert kind() is Hdir
    store.commit(KVSTxn().unlink("d.more").ops)
    assert kind() is dict
    assert store.rootref == before


def test_what_one_put_stores_does_not_grow_with_the_directory() -> None:
    stored = []
    for count in (1000, 30_000):
        update = filled(count).commit(KVSTxn().put("d.key7", "other").ops)
        stored.append(sum(map(len, update.blobs.values())))
    assert stored[1] < stored[0]


def test_names_in_a_row_are_stored_at_the_cost_of_few_buckets() -> None:
    store = filled(30_000)
    txn = KVSTxn()
    for number in range(30_000, 31_000):
        txn.put(f"d.key{number}", number)
    update = store.commit(txn.ops)
    assert len(update.blobs) < 100
    assert sum(map(len, update.blobs.values())) < 1000 * 500


def test_a_directory_that_was_made_with_the_hash_of_before_is_read_and_changed() -> None:
    store = Store()

    def kept(blob: bytes) -> str:
        ref = treeobj.blobref(blob)
        store.content[ref] = blob
        return ref

    def stored(entries: dict[str, Any], level: int = 0) -> str:
        if len(entries) <= (128 if level else 1024):
            return kept(treeobj.encode(treeobj.directory(entries)))
        parts: list[dict[str, Any]] = [{} for _ in range(32)]
        for name, entry in entries.items():
            parts[bucket_of(name, level, func="sha1")][name] = entry
        refs = [stored(part, level + 1) if part else None for part in parts]
        return kept(encode_hdir(level, len(entries), refs, "sha1"))

    old = stored({f"key{number}": treeobj.val(b"%d" % number) for number in range(10_000)})
    store.commit(KVSTxn().put_treeobj("d", treeobj.dirref(old)).ops)
    txn = KVSTxn()
    for number in range(9000, 19_000):
        txn.put_raw(f"d.key{number}", b"%d" % number)
    store.commit(txn.ops)
    assert store.tree()["d"] == {f"key{number}": b"%d" % number for number in range(19_000)}
    assert treeobj.decode_val(store.lookup("d.key77")) == b"77"
    txn = KVSTxn()
    for number in range(1000, 19_000):
        txn.unlink(f"d.key{number}")
    store.commit(txn.ops)
    assert store.rebuilt() == store.rootref


def test_a_large_directory_is_copied_and_moved_by_reference() -> None:
    store = filled(3000)
    entry = store.lookup("d", FLUX_KVS_TREEOBJ)
    update = store.commit(KVSTxn().put_treeobj("copy", entry).put_treeobj("e.moved", entry).unlink("d").ops)
    assert len(update.blobs) == 2
    store.commit(KVSTxn().put("copy.key1", "changed").ops)
    assert treeobj.decode_val(store.lookup("e.moved.key1")) == b"1"
    assert treeobj.decode_val(store.lookup("copy.key1")) == b'"changed"'


def test_directories_in_a_large_one_can_be_written_to() -> None:
    store = filled(2000)
    store.commit(KVSTxn().put("d.sub.a", 1).put("d.sub.b", 2).symlink("link", "d.sub").ops)
    store.cache.drop()
    store.commit(KVSTxn().put("link.c", 3).unlink("d.sub.a").ops)
    assert store.tree()["d"]["sub"] == {"b": b"2", "c": b"3"}


def test_without_a_limit_directories_are_plain_and_large_ones_become_so_when_changed() -> None:
    store = filled(2000)
    store.maxdirent = 0
    store.commit(KVSTxn().put("d.more", 1).ops)
    assert len(decode_dir(store.content[store.lookup("d", FLUX_KVS_TREEOBJ)["data"][0]])) == 2001


def test_a_commit_asks_at_once_for_all_the_buckets_it_needs() -> None:
    store = filled(20_000)
    txn = KVSTxn()
    for number in range(500):
        txn.put(f"d.key{number}", -1)
    edits = check_ops([Op(**op) for op in txn.ops], guest=False)
    store.cache.drop()
    rounds = 0
    while True:
        try:
            merge(store.rootref, [Transaction("t", edits, 0, None)], store.cache)
            break
        except Missing as missing:
            rounds += 1
            store.load(missing.refs)
    assert rounds <= 6


GOOD = {"bucket": [None, treeobj.dirref("sha1-" + "0" * 40)], "func": "sha1-0", "size": 2, "total": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"func": "city32"},
        {"func": "sha1-20"},
        {"func": "stem-20"},
        {"func": "stem"},
        {"size": 3},
        {"size": 0, "bucket": []},
        {"total": "one"},
        {"bucket": [None, treeobj.val(b"")]},
        {"bucket": 1},
    ],
)
def test_an_hdir_that_is_none_is_refused(change: dict[str, Any]) -> None:
    assert isinstance(decode_dir(treeobj.encode({"data": GOOD, "type": "hdir", "ver": 1})), Hdir)
    with pytest.raises(ProtocolError):
        decode_dir(treeobj.encode({"data": GOOD | change, "type": "hdir", "ver": 1}))


def test_an_hdir_cannot_be_committed_as_an_entry() -> None:
    op = Op("a", 0, {"data": GOOD, "type": "hdir", "ver": 1})
    with pytest.raises(ProtocolError):
        check_ops([op], guest=False)


def test_the_form_stays_what_stores_hold() -> None:
    """Buckets and their order are on disk: a change of either makes what is there unreadable."""
    assert [bucket_of(name, 0, func="sha1") for name in ("a", "b", "ü")] == [6, 9, 20]
    assert [bucket_of(name, 2) for name in ("a00", "a99", "b00", "üxy")] == [4, 4, 31, 25]
    assert [bucket_of(name, 4) for name in ("a", "b", "ü")] == [26, 7, 23]
    blob = encode_hdir(1, 1, [None, "sha1-" + "0" * 40])
    assert b'"func":"stem-1"' in blob
    blob = encode_hdir(1, 1, [None, "sha1-" + "0" * 40], "sha1")
    ref = b'{"data":["sha1-0000000000000000000000000000000000000000"],"type":"dirref","ver":1}'
    assert blob == b'{"data":{"bucket":[null,%s],"func":"sha1-1","size":2,"total":1},"type":"hdir","ver":1}' % ref
