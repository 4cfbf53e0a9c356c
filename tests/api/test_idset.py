"""flux.idset against Python's own set, and its RFC 22 text form."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.constants import IDSET_FLAG_BRACKETS, IDSET_FLAG_RANGE, IDSET_INVALID_ID
from flux.idset import IDset, IDsetIterator, decode

ids = st.sets(st.integers(0, 200) | st.integers(0, 2**32 - 3), max_size=60)
small = st.sets(st.integers(0, 40), max_size=30)


@given(ids)
def test_every_encoding_decodes_to_the_same_set(model: set[int]) -> None:
    s = IDset(model)
    for flags in (0, IDSET_FLAG_RANGE, IDSET_FLAG_BRACKETS, IDSET_FLAG_RANGE | IDSET_FLAG_BRACKETS):
        assert decode(s.encode(flags)) == s
    assert set(s) == model and s.expand() == sorted(model) and list(reversed(s)) == sorted(model)[::-1]
    assert len(s) == s.count() == len(model) and bool(s) == bool(model)
    assert pickle.loads(pickle.dumps(s)) == copy.deepcopy(s) == s.copy() == s


@given(small, small)
def test_set_operations_are_those_of_sets(a: set[int], b: set[int]) -> None:
    x, y = IDset(a), IDset(b)
    assert set(x | y) == set(x + y) == set(x.union(y)) == a | b
    assert set(x & y) == set(x.intersect(b)) == a & b
    assert set(x - y) == set(x.difference(str(y))) == a - b
    assert set(x ^ y) == a ^ b
    assert x.isdisjoint(y) == a.isdisjoint(b) and x.issubset(y) == a.issubset(b)
    assert (x == y) == x.equal(b) == (a == b)
    assert set(x) == a and set(y) == b, "operands must stay as they were"


@given(small, small)
def test_in_place_operations(a: set[int], b: set[int]) -> None:
    x = IDset(a)
    x |= IDset(b)
    assert set(x) == a | b
    x -= b
    assert set(x) == a - b
    x += b
    x &= a
    assert set(x) == a


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50), st.integers(0, 50)), max_size=40))
def test_set_and_clear_of_ranges_follow_a_model(steps: list[tuple[bool, int, int]]) -> None:
    s, model = IDset(), set[int]()
    for add, i, j in steps:
        lo, hi = sorted((i, j))
        assert (s.set(lo, hi) if add else s.clear(lo, hi)) is s
        model = model | set(range(lo, hi + 1)) if add else model - set(range(lo, hi + 1))
        assert set(s) == model
        assert decode(str(s)) == s == IDset(model), "ranges must stay merged"


@given(small, st.integers(0, 45))
def test_first_next_last_walk_the_set(model: set[int], i: int) -> None:
    s = IDset(model)
    assert s.first() == min(model, default=IDSET_INVALID_ID)
    assert s.last() == max(model, default=IDSET_INVALID_ID)
    assert s.next(i) == min((m for m in model if m > i), default=IDSET_INVALID_ID)
    assert s.test(i) == (i in s) == s[i] == (i in model)
    assert list(IDsetIterator(s)) == sorted(model)


@given(st.text("0123456789,-[] x\u0663", max_size=12))
def test_any_text_is_decoded_or_refused_with_a_reason(text: str) -> None:
    try:
        s = decode(text)
    except ValueError as e:
        assert str(e).startswith("idset")
    else:
        assert decode(str(s)) == s


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("[]", ""),
        ("1,2,5,4", "1-2,4-5"),
        ("1-4,7,9-10", "1-4,7,9-10"),
        ("42", "42"),
        ("[99-101]", "99-101"),
        ("0-4294967293", "0-4294967293"),
        ("1-3,2-5,2", "1-5"),
    ],
)
def test_documented_forms(text: str, canonical: str) -> None:
    assert str(decode(text)) == canonical


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("01", "'01'"),
        ("1,", "''"),
        ("2-1", "2-1"),
        ("[1", "'[1'"),
        ("a", "'a'"),
        ("1,-3", "'-3'"),
        (" 1", "' 1'"),
        ("[1],[2]", "'1]'"),
        ("4294967294", "4294967294"),
        ("1_0", "'1_0'"),
    ],
)
def test_a_wrong_text_is_named(text: str, culprit: str) -> None:
    with pytest.raises(ValueError, match=r"^idset") as e:
        decode(text)
    assert culprit in str(e.value)


def test_wrong_python_arguments() -> None:
    with pytest.raises(TypeError, match="id is an integer"):
        IDset(["1"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="out of range"):
        IDset([-1])
    with pytest.raises(TypeError, match="float"):
        IDset(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a string"):
        decode(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backwards"):
        IDset().set(3, 1)


def test_subscripts_are_a_bitmap() -> None:
    s = IDset("1-3")
    s[5] = True
    s[0:3] = 0
    assert str(s) == "3,5" and s[3] is True and s[3:6] == [True, False, True]


def test_brackets_only_around_more_than_one_id() -> None:
    s = IDset("3", flags=IDSET_FLAG_BRACKETS | IDSET_FLAG_RANGE)
    assert str(s) == "3"
    assert str(s.set(4)) == "[3-4]"
    assert repr(s) == "IDset('3-4')"
    s.set_flags(0)
    assert str(s) == "3,4"
