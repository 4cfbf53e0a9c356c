"""Tree objects (RFC 11) and transactions: what goes into the store and on the wire."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError, ProtocolError
from flux.kvs import KVSTxn, join, treeobj

SHA1 = "sha1-" + "0" * 40
names = st.text(min_size=1, max_size=6).filter(lambda s: "." not in s)
refs = st.binary(max_size=9).map(treeobj.blobref)
leaves = st.one_of(
    st.binary(max_size=40).map(treeobj.val),
    st.lists(refs, max_size=3).map(treeobj.valref),
    refs.map(treeobj.dirref),
    st.builds(treeobj.symlink, names, st.none() | names),
)
objects = st.recursive(leaves, lambda inner: st.dictionaries(names, inner, max_size=4).map(treeobj.directory))


def test_the_empty_directory_has_the_blobref_that_clients_compute_themselves():
    assert treeobj.encode(treeobj.directory()) == treeobj.EMPTY_DIR
    assert treeobj.blobref(treeobj.EMPTY_DIR) == "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91"


def test_sha256_blobrefs():
    assert treeobj.blobref(b"", "sha256").startswith("sha256-e3b0c442")
    with pytest.raises(FluxError, match="md5"):
        treeobj.blobref(b"", "md5")


@given(objects)
def test_encoding_round_trips_and_is_canonical(obj):
    blob = treeobj.encode(obj)
    assert treeobj.decode(blob) == obj
    shuffled = {key: obj[key] for key in ("ver", "data", "type")}
    assert treeobj.encode(shuffled) == blob
    assert b"\n" not in blob


def test_directory_entries_are_sorted_whatever_the_order_they_came_in():
    one, two = treeobj.val(b"1"), treeobj.val(b"2")
    assert treeobj.encode(treeobj.directory({"b": one, "a": two})) == treeobj.encode(
        treeobj.directory({"a": two, "b": one})
    )


@given(st.binary())
def test_values_round_trip(data):
    assert treeobj.decode_val(treeobj.val(data)) == data


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([], "data, type, ver"),
        ({"data": "", "type": "val"}, "data, type, ver"),
        ({"data": "", "type": "val", "ver": 2}, "version 2"),
        ({"data": "", "type": "value", "ver": 1}, "'value'"),
        ({"data": "a", "type": "val", "ver": 1}, "base64"),
        ({"data": 7, "type": "val", "ver": 1}, "base64"),
        ({"data": ["sha1-12"], "type": "valref", "ver": 1}, "sha1-12"),
        ({"data": ["md5-" + "0" * 40], "type": "valref", "ver": 1}, "md5"),
        ({"data": [SHA1, SHA1], "type": "dirref", "ver": 1}, "one blobref, not 2"),
        ({"data": {"a.b": treeobj.val(b"")}, "type": "dir", "ver": 1}, "'a.b'"),
        ({"data": {"a": {}}, "type": "dir", "ver": 1}, "data, type, ver"),
        ({"data": {"target": 1}, "type": "symlink", "ver": 1}, "target"),
        ({"data": {"target": "a", "x": 1}, "type": "symlink", "ver": 1}, "target"),
    ],
)
def test_malformed_objects_are_refused_with_the_reason(bad, says):
    with pytest.raises(ProtocolError, match=says):
        treeobj.validate(bad)


def test_decode_val_tells_directories_from_other_things():
    with pytest.raises(IsADirectoryError):
        treeobj.decode_val(treeobj.directory())
    with pytest.raises(FluxError) as caught:
        treeobj.decode_val(treeobj.symlink("a"))
    assert caught.value.errno == errno.EINVAL


def test_a_transaction_holds_its_operations_in_wire_form():
    txn = KVSTxn()
    txn.put("a", {"x": 1}).append("log", "line\n").unlink("b").mkdir("d")
    txn.symlink("l", "a", namespace="other").put_treeobj("t", treeobj.dirref(SHA1)).put_raw("r", b"\0")
    assert [op["key"] for op in txn.ops] == ["a", "log", "b", "d", "l", "t", "r"]
    assert [op["flags"] for op in txn.ops] == [0, 32, 0, 0, 0, 0, 0]
    assert treeobj.decode_val(txn.ops[0]["dirent"]) == b'{"x":1}'
    assert txn.ops[2]["dirent"] is None
    assert txn.ops[4]["dirent"]["data"] == {"namespace": "other", "target": "a"}


def test_a_transaction_refuses_empty_keys_and_bad_objects():
    with pytest.raises(FluxError, match="empty"):
        KVSTxn().put("", 1)
    with pytest.raises(ProtocolError, match="JSON"):
        KVSTxn().put_treeobj("a", "{")


def test_join_drops_empty_parts():
    assert join("a", ".", "b.c", "") == "a.b.c"
