"""The commit engine and lookups against a model: what is committed is what is read, whole or not at all."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kvs_model import Model, Refused, Store

from flux.constants import FLUX_KVS_READDIR, FLUX_KVS_READLINK, FLUX_KVS_TREEOBJ
from flux.errors import FluxError, ProtocolError
from flux.kvs import KVSTxn, treeobj
from flux_plugins.kvs.cache import Missing, TreeCache
from flux_plugins.kvs.commit import merge
from flux_plugins.kvs.keys import normalise
from flux_plugins.kvs.lookup import value_blobs
from flux_plugins.kvs.transaction import Op, check_ops

keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)
data = st.binary(max_size=4) | st.binary(min_size=50, max_size=60)
operations = st.one_of(
    st.tuples(st.just("put"), keys, data),
    st.tuples(st.just("append"), keys, data.filter(bool)),
    st.tuples(st.just("unlink"), keys, st.none()),
    st.tuples(st.just("mkdir"), keys, st.builds(dict)),
    st.tuples(st.just("link"), keys, keys.map(lambda key: ("link", key))),
)
transactions = st.lists(operations, max_size=5)


def to_ops(transaction: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    txn = KVSTxn()
    for op, key, value in transaction:
        if op == "unlink":
            txn.unlink(key)
        elif op == "mkdir":
            txn.mkdir(key)
        elif op == "link":
            txn.symlink(key, value[1])
        else:
            (txn.append if op == "append" else txn.put_raw)(key, value)
    return txn.ops


class EngineAgainstModel(RuleBasedStateMachine):
    """Merged commits, on an engine whose cache may have forgotten anything, against plain dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(dirs_limit=200, blobs_limit=400)
        self.model = Model()

    @rule(batch=st.lists(transactions, min_size=1, max_size=4))
    def commit(self, batch: list[Any]) -> None:
        refused = []
        for transaction in batch:
            try:
                self.model.transact(transaction)
            except Refused as exc:
                refused.append(exc.errno)
        update = self.store.commit(*map(to_ops, batch))
        assert [error.errno for _, error in update.failed] == refused

    @rule(key=keys)
    def look_up(self, key: str) -> None:
        found = self.store_entry(key)
        place = self.model_entry(key)
        assert found == place

    def store_entry(self, key: str) -> Any:
        try:
            obj = self.store.lookup(key, FLUX_KVS_TREEOBJ)
        except FluxError as exc:
            assert exc.errno in (errno.ENOENT, errno.ELOOP)
            return None
        return treeobj_plain(self.store, obj)

    def model_entry(self, key: str) -> Any:
        try:
            place = self.model.parent(key.split("."), create=False)
        except Refused:
            return None
        return None if place is None else place[0].get(place[1])

    @rule()
    def forget(self) -> None:
        self.store.cache.drop()

    @invariant()
    def trees_agree(self) -> None:
        assert self.store.tree() == self.model.root


def treeobj_plain(store: Store, obj: Any) -> Any:
    from kvs_model import plain

    return plain(obj, store.content.__getitem__)


TestEngineAgainstModel = EngineAgainstModel.TestCase
TestEngineAgainstModel.settings = settings(max_examples=60, stateful_step_count=15)


# -- commit


def test_short_values_stay_in_their_directory_and_long_ones_do_not():
    store = Store()
    store.commit(KVSTxn().put_raw("short", b"x" * 54).put_raw("long", b"x" * 55).ops)
    assert store.lookup("short", FLUX_KVS_TREEOBJ)["type"] == "val"
    assert store.lookup("long", FLUX_KVS_TREEOBJ)["type"] == "valref"
    assert treeobj.decode_val(store.lookup("long")) == b"x" * 55


def test_appends_add_a_blob_each():
    store = Store()
    for line in (b"one\n", b"two\n", b"three\n"):
        store.commit(KVSTxn().append("log", line).ops)
    entry = store.lookup("log", FLUX_KVS_TREEOBJ)
    assert [store.content[ref] for ref in entry["data"]] == [b"one\n", b"two\n", b"three\n"]


def test_a_failing_transaction_leaves_no_trace_and_the_others_of_its_batch_succeed():
    store = Store()
    store.commit(KVSTxn().put_raw("dir.file", b"1").ops)
    bad = KVSTxn().put_raw("dir.other", b"2").unlink("dir.file").append("dir", b"x").ops
    update = store.commit(bad, KVSTxn().put_raw("fine", b"3").ops)
    assert [error.errno for _, error in update.failed] == [errno.EISDIR]
    assert store.tree() == {"dir": {"file": b"1"}, "fine": b"3"}
    assert list(update.keys) == ["fine"]


def test_when_all_fail_there_is_no_new_root():
    store = Store()
    store.commit(KVSTxn().symlink("link", "x").ops)
    update = store.commit(KVSTxn().append("link", b"x").ops)
    assert update.rootref is None
    assert update.failed[0][1].errno == errno.EOPNOTSUPP


def test_writing_through_a_link_to_another_namespace_is_refused():
    store = Store()
    store.commit(KVSTxn().symlink("link", ".", namespace="other").ops)
    update = store.commit(KVSTxn().put_raw("link.a", b"1").ops)
    assert update.failed[0][1].errno == errno.EINVAL


def test_a_directory_given_whole_is_stored_level_by_level():
    store = Store()
    inner = treeobj.directory({"long": treeobj.val(b"z" * 80)})
    store.commit(KVSTxn().put_treeobj("d", treeobj.directory({"e": inner})).ops)
    assert store.tree() == {"d": {"e": {"long": b"z" * 80}}}
    assert store.lookup("d.e", FLUX_KVS_TREEOBJ)["type"] == "dirref"


def test_one_commit_loads_only_the_directories_on_its_way():
    store = Store()
    store.commit(KVSTxn().put_raw("a.b.c", b"1").put_raw("x.y.z", b"2").ops)
    store.cache.drop()
    store.loads = 0
    store.commit(KVSTxn().put_raw("a.b.d", b"3").ops)
    assert store.loads == 3


def test_sha256_instances():
    store = Store("sha256")
    store.commit(KVSTxn().put_raw("a", b"z" * 80).ops)
    assert store.rootref.startswith("sha256-")
    assert store.tree() == {"a": b"z" * 80}


def test_the_cache_takes_no_more_memory_than_it_may():
    cache = TreeCache(100_000, 100_000)
    for number in range(1000):
        cache.put_blob(f"value{number}", b"x" * 500)
        cache.put_blob(f"dir{number}", b'{"data":{},"type":"dir","ver":1}')
        assert cache.node(f"dir{number}") == {}
        assert cache.blobs(["value0"]) == [b"x" * 500]  # in use all the time
        assert cache.stats()["size"] <= 202_000
    with pytest.raises(Missing):
        cache.blobs(["value1"])


def test_directories_that_others_have_replaced_are_forgotten():
    store = Store()
    for number in range(200):
        store.commit(KVSTxn().put_raw("a.b.c", b"%d" % number).ops)
    assert store.cache.stats()["directories"] < 50
    assert store.tree() == {"a": {"b": {"c": b"199"}}}


def test_a_root_that_is_no_directory_is_damage_not_a_crash():
    cache = TreeCache()
    cache.put_blob("sha1-x", b"{}")
    with pytest.raises(FluxError) as caught:
        merge("sha1-x", [], cache)
    assert caught.value.errno == errno.ENOTRECOVERABLE


# -- operations


def check(key: str, dirent: Any, flags: int = 0, guest: bool = False) -> None:
    check_ops([Op(key, flags, dirent)], guest)


@pytest.mark.parametrize(
    ("args", "errnum"),
    [
        (("", treeobj.val(b"")), errno.EINVAL),
        ((".", treeobj.val(b"")), errno.EINVAL),
        (("a." * 300, treeobj.val(b"")), errno.EINVAL),
        (("a", {"type": "val"}), errno.EPROTO),
        (("a", None, 32), errno.EPROTO),
        (("a", treeobj.directory(), 32), errno.EPROTO),
        (("a", treeobj.symlink("b"), 0, True), errno.EPERM),
        (("a", treeobj.valref([]), 0, True), errno.EPERM),
        (("a", treeobj.directory({"b": treeobj.val(b"")}), 0, True), errno.EPERM),
    ],
)
def test_refused_operations(args, errnum):
    with pytest.raises(FluxError) as caught:
        check(*args)
    assert caught.value.errno == errnum


def test_a_directory_nested_without_end_is_refused():
    nested = treeobj.directory()
    for _ in range(5000):
        nested = {"data": {"a": nested}, "type": "dir", "ver": 1}
    with pytest.raises(ProtocolError, match="nested too deeply"):
        check("a", nested)


def test_guests_may_write_values_make_directories_and_unlink():
    edits = check_ops([Op("a", 0, treeobj.val(b"")), Op("b", 0, treeobj.directory()), Op("c", 0, None)], guest=True)
    assert len(edits) == 3


@pytest.mark.parametrize(("key", "same"), [("a.b", "a.b"), (".a..b.", "a.b"), (".", "."), ("...", ".")])
def test_keys_have_one_spelling(key, same):
    assert normalise(key) == same


# -- lookup


@pytest.fixture
def store() -> Store:
    store = Store()
    txn = KVSTxn().put_raw("dir.val", b"1").put_raw("dir.long", b"z" * 60).append("dir.long", b"y")
    store.commit(txn.symlink("to_dir", "dir").symlink("to_val", "to_dir.val").symlink("loop", "loop").ops)
    return store


def test_links_are_followed_on_the_way_and_at_the_end(store):
    assert treeobj.decode_val(store.lookup("to_val")) == b"1"
    assert treeobj.decode_val(store.lookup("to_dir.long")) == b"z" * 60 + b"y"
    assert store.lookup("to_val", FLUX_KVS_TREEOBJ)["type"] == "symlink"
    assert store.lookup("to_val", FLUX_KVS_READLINK)["data"] == {"target": "to_dir.val"}
    assert store.lookup(".", FLUX_KVS_TREEOBJ) == treeobj.dirref(store.rootref)
    assert set(store.lookup("to_dir", FLUX_KVS_READDIR)["data"]) == {"val", "long"}


@pytest.mark.parametrize(
    ("key", "flags", "errnum"),
    [
        ("none", 0, errno.ENOENT),
        ("dir.val.below", 0, errno.ENOENT),
        ("dir", 0, errno.EISDIR),
        (".", 0, errno.EISDIR),
        ("dir.val", FLUX_KVS_READDIR, errno.ENOTDIR),
        ("dir.val", FLUX_KVS_READLINK, errno.EINVAL),
        ("loop", 0, errno.ELOOP),
        ("loop.x", FLUX_KVS_TREEOBJ, errno.ELOOP),
    ],
)
def test_lookup_errors(store, key, flags, errnum):
    with pytest.raises(FluxError) as caught:
        store.lookup(key, flags)
    assert caught.value.errno == errnum


def test_links_lead_to_other_namespaces_and_their_links_stay_there(store):
    other = Store()
    other.content = store.content
    other.commit(KVSTxn().put_raw("x", b"there").symlink("y", "x").ops)
    store.commit(KVSTxn().symlink("away", ".", namespace="other").ops)
    asked: list[str] = []

    def root_of(name: str) -> str:
        asked.append(name)
        return other.rootref

    assert treeobj.decode_val(store.lookup("away.y", root_of=root_of)) == b"there"
    assert set(asked) == {"other"}


def test_all_missing_blobs_of_a_value_are_asked_for_at_once(store):
    store.cache.drop()
    for key in (".", "dir"):
        store.lookup(key, FLUX_KVS_READDIR)
    with pytest.raises(Missing) as caught:
        from flux_plugins.kvs.lookup import lookup

        lookup(store.cache, store.rootref, "dir.long", 0, lambda name: name)
    assert len(caught.value.refs) == 2


def test_value_blobs_from_an_offset(store):
    entry = store.lookup("dir.long", FLUX_KVS_TREEOBJ)
    first, second = entry["data"]
    assert value_blobs(store.cache, entry, 0) == (2, [b"z" * 60, b"y"], "", second)
    assert value_blobs(store.cache, entry, 1) == (2, [b"y"], first, second)
    inline = treeobj.val(b"1")
    assert value_blobs(store.cache, inline, 1) == (1, [], treeobj.blobref(b"1"), treeobj.blobref(b"1"))
