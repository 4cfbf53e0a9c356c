"""flux.hostlist: RFC 29 test vectors, round trips, and list behaviour against Python's list."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.hostlist import MAX_HOSTS, Hostlist, HostlistIterator, decode
from flux.idset import IDset

name = st.from_regex(r"[a-z]{0,2}[0-9]{0,3}(-[a-z][0-9]{1,2})?", fullmatch=True).filter(bool)
wild = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="[],"), min_size=1)
hosts = st.lists(name | wild | st.integers(0, 200).map("node{}".format), max_size=30)


@given(hosts)
def test_encoding_keeps_order_and_duplicates(model: list[str]) -> None:
    h = Hostlist(model)
    assert list(decode(h.encode())) == model == h.expand() == list(HostlistIterator(h))
    assert len(h) == h.count() == len(model)
    assert pickle.loads(pickle.dumps(h)) == h.copy() == h


@given(hosts, hosts)
def test_append_and_delete(a: list[str], b: list[str]) -> None:
    h, model = Hostlist(a), a.copy()
    assert h.append(Hostlist(b)) == len(b)
    assert list(h) == a + b
    h = Hostlist(a)
    for host in b:
        if host in model:
            model.remove(host)
    assert h.delete(b) == len(a) - len(model)
    assert list(h) == model


@given(hosts)
def test_uniq_is_sort_without_duplicates(model: list[str]) -> None:
    h, s = Hostlist(model), Hostlist(model)
    h.uniq()
    s.sort()
    assert list(h) == list(dict.fromkeys(s)) and sorted(s) == sorted(model)
    for host in model:
        assert h[h.find(host)] == host and host in h
    assert s.index(model) == [list(s).index(host) for host in model]


@given(st.text("ab019[]-, \u00e9", max_size=14))
def test_any_text_is_decoded_or_refused_with_a_reason(text: str) -> None:
    try:
        h = decode(text)
    except ValueError as e:
        assert str(e).startswith("hostlist")
    else:
        assert decode(str(h)) == h


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", []),
        ("foox,fooy,fooz", ["foox", "fooy", "fooz"]),
        ("[1-3,5-6]", ["1", "2", "3", "5", "6"]),
        ("foo[1-5]", ["foo1", "foo2", "foo3", "foo4", "foo5"]),
        ("foo[0-2]-eth2", ["foo0-eth2", "foo1-eth2", "foo2-eth2"]),
        ("foo1,foo1,foo1", ["foo1"] * 3),
        ("[00-02]", ["00", "01", "02"]),
        ("[00-2]", ["00", "01", "02"]),
        ("foo[1,1,2,1]", ["foo1", "foo1", "foo2", "foo1"]),
        ("n[10,01]", ["n10", "n01"]),
        ("n[001,2,0003-5]", ["n001", "n2", "n0003", "n0004", "n0005"]),
        ("a, b[1] ,,c", ["a", "b1", "c"]),
    ],
)
def test_rfc_29_vectors_and_what_flux_core_writes(text: str, expanded: list[str]) -> None:
    assert list(decode(text)) == expanded
    assert decode(decode(text).encode()) == decode(text)


@pytest.mark.parametrize(
    ("expanded", "compact"),
    [
        ("n0,n1,n2,n7", "n[0-2,7]"),
        ("n08,n09,n10,n11", "n[08-11]"),
        ("n8,n9,n10", "n[8-10]"),
        ("n9,n09", "n9,n09"),
        ("foo0-eth2,foo1-eth2", "foo[0-1]-eth2"),
        ("foo0-eth1,foo0-eth2", "foo0-eth[1-2]"),
        ("a1,b1,a2", "a1,b1,a2"),
        ("n3,n2,n1", "n[3,2,1]"),
        ("n1,n1,n2,n1", "n[1,1-2,1]"),
        ("login,n1", "login,n1"),
    ],
)
def test_compact_form(expanded: str, compact: str) -> None:
    assert decode(expanded).encode() == compact


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("a[1-", "brackets"),
        ("a]1", "brackets"),
        ("a[0-1]b[0-1]", "brackets"),
        ("a[]", "''"),
        ("a[3-1]", "backwards"),
        ("a[x]", "'x'"),
        ("a b", "'a b'"),
        ("h\u00e9", "not printable ASCII"),
        (f"a[0-{MAX_HOSTS}]", "more than"),
        ("a[0-99999999999999999]", "more than"),
        ("a[1111111111111111111]", "neither"),
    ],
)
def test_a_wrong_text_is_named(text: str, culprit: str) -> None:
    with pytest.raises(ValueError, match=r"^hostlist") as e:
        decode(text)
    assert culprit in str(e.value)


def test_sort_counts_numbers_by_value() -> None:
    h = Hostlist("b2,a10,a9,b1,a9,a09,a")
    h.sort()
    assert h.expand() == ["a", "a9", "a9", "a09", "a10", "b1", "b2"]


def test_subscripts() -> None:
    h = Hostlist("a[0-9]")
    assert h[0] == "a0" and h[-1] == "a9" and str(h[2:4]) == "a[2-3]" and str(h[IDset("1,5")]) == "a[1,5]"
    with pytest.raises(IndexError, match="index 10 is out of range, 10 hosts"):
        h[10]
    with pytest.raises(TypeError, match="not 'a1'"):
        h["a1"]


def test_missing_hosts_are_named() -> None:
    h = Hostlist("a[0-1]")
    with pytest.raises(FileNotFoundError, match="no host 'b'"):
        h.find("b")
    with pytest.raises(FileNotFoundError, match="no host 'c'"):
        h.index("a0,c")
    assert h.index("a1,c", ignore_nomatch=True) == [1]
    with pytest.raises(TypeError, match="a host is a string"):
        Hostlist([1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="int"):
        Hostlist(1)  # type: ignore[arg-type]


def test_a_large_list_is_quick() -> None:
    h = Hostlist(f"node[0-{MAX_HOSTS - 1}]")
    assert h.count() == MAX_HOSTS and h.encode() == f"node[0-{MAX_HOSTS - 1}]"
