"""flux.resource.ResourceSet: R version 1 (RFC 20) against a model of (rank, type, id) triples, and RFC 31."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.idset import IDset
from flux.resource import ResourceSet, Rlist

Triples = frozenset[tuple[int, str, int]]

triples = st.frozensets(st.tuples(st.integers(0, 4), st.sampled_from(["core", "gpu"]), st.integers(0, 3)), max_size=20)


def make(model: Triples) -> ResourceSet:
    """The set of these resources; rank N is host nN, even ranks have property "even"."""
    rlist = Rlist()
    for rank in sorted({rank for rank, _, _ in model}):
        held = {kind: [i for r, k, i in model if (r, k) == (rank, kind)] for kind in ("core", "gpu")}
        rlist.add_rank(rank, f"n{rank}", held["core"])
        rlist.add_child(rank, "gpu", held["gpu"])
        if rank % 2 == 0:
            rlist.set_property("even", rank)
    return ResourceSet(rlist.diff(Rlist()))


def model_of(rset: ResourceSet) -> Triples:
    rlist = rset.rlist
    return frozenset(
        (rank, kind, i) for rank in rlist.ranks() for kind, ids in rlist.children(rank).items() for i in ids
    )


def check(rset: ResourceSet, model: Triples) -> None:
    assert model_of(rset) == model
    ranks = sorted({rank for rank, _, _ in model})
    assert rset.ranks.expand() == ranks and rset.nnodes == len(ranks)
    assert rset.nodelist.expand() == [f"n{rank}" for rank in ranks]
    assert rset.get_properties().get("even", IDset()).expand() == [rank for rank in ranks if rank % 2 == 0]
    assert rset.ncores == sum(kind == "core" for _, kind, _ in model) == rset.count("core")
    assert ResourceSet(rset.encode()) == rset == ResourceSet(rset.to_dict()) == rset.copy()


@given(triples, triples)
def test_operations_are_those_of_sets(a: Triples, b: Triples) -> None:
    x, y = make(a), make(b)
    check(x, a)
    check(x | y, a | b)
    check(x & y, a & b)
    check(x - y, a - b)
    check(x.union(y, y), a | b)
    check(x.copy().add(y), a | b)
    check((x - y).append(y & x), a)
    check(x, a)
    check(y, b)


@given(triples, st.sets(st.integers(0, 6)))
def test_ranks(a: Triples, ranks: set[int]) -> None:
    x = make(a)
    check(x.copy_ranks(ranks), frozenset(t for t in a if t[0] in ranks))
    check(x.copy().remove_ranks(ranks), frozenset(t for t in a if t[0] not in ranks))
    assert x.host_ranks(x.nodelist) == list(x.ranks)
    x.rlist.remap()
    assert x.ranks.expand() == list(range(x.nnodes))


def test_text_forms_and_compaction() -> None:
    rlist = Rlist()
    for rank in range(3):
        rlist.add_rank(rank, f"a{rank}", "0-3" if rank < 2 else "0")
        if rank < 2:
            rlist.add_child(rank, "gpu", 0)
    rlist.set_property("p", "1")
    rlist.expiration = 5
    rset = ResourceSet(rlist)
    assert str(rset) == "rank[0-1]/core[0-3],gpu0 rank2/core0" and rset.properties == "p"
    assert (rset.nnodes, rset.ncores, rset.ngpus, rset.expiration) == (3, 9, 2, 5)
    assert rset.to_dict() == {
        "version": 1,
        "execution": {
            "R_lite": [
                {"rank": "0-1", "children": {"core": "0-3", "gpu": "0"}},
                {"rank": "2", "children": {"core": "0"}},
            ],
            "starttime": 0.0,
            "expiration": 5.0,
            "nodelist": ["a[0-2]"],
            "properties": {"p": "1"},
        },
    }


def test_the_example_of_rfc_20_is_kept() -> None:
    r: dict[str, Any] = {
        "version": 1,
        "execution": {
            "R_lite": [{"rank": "19-22", "children": {"core": "0-47", "gpu": "0-7"}}],
            "nodelist": ["node[186-189]"],
            "nslots": 32,
            "starttime": 1676560542,
            "expiration": 1676562342,
        },
        "scheduling": {"writer": "site:x"},
    }
    rset = ResourceSet(json.dumps(r))
    assert rset.to_dict() == r and rset.rlist.nslots == 32
    assert str(rset.copy_ranks("20").nodelist) == "node187"
    assert rset.host_ranks("node188,no", ignore_nomatch=True) == [21]


def test_ranks_in_any_order_and_listed_twice() -> None:
    lite = [{"rank": "2", "children": {"core": "0"}}, {"rank": "0,2", "children": {"core": "1"}}]
    rset = ResourceSet({"version": 1, "execution": {"R_lite": lite, "nodelist": ["b", "a"]}})
    assert str(rset) == "rank0/core1 rank2/core[0-1]" and rset.nodelist.expand() == ["b", "a"]
    assert str(ResourceSet()) == "" and ResourceSet().nnodes == 0


def damaged(**execution: Any) -> dict[str, Any]:
    lite = [{"rank": "0-1", "children": {"core": "0"}}]
    return {"version": 1, "execution": {"R_lite": lite} | execution}


@pytest.mark.parametrize(
    ("r", "reason"),
    [
        ("{", "R is not JSON"),
        ([], "R: expected an object"),
        ({"version": 2}, "R: expected version 1, got 2"),
        ({"version": 1}, "R execution: expected an object, got None"),
        (damaged(R_lite=None), "R_lite: expected an array"),
        (damaged(R_lite=[{"rank": "x", "children": {"core": "0"}}]), "R_lite[0].rank: idset 'x'"),
        (damaged(R_lite=[{"rank": 0, "children": {}}]), "R_lite[0].rank: expected an idset string, got 0"),
        (damaged(R_lite=[{"rank": "0", "children": {"core": "1-0"}}]), "R_lite[0].children.core: idset '1-0'"),
        (damaged(R_lite=[{"rank": "0", "children": {}}]), "R_lite[0].children: no cores"),
        (damaged(R_lite=[{"rank": "0-9999999", "children": {"core": "0"}}]), "R_lite[0].rank: more than"),
        (damaged(nodelist=["a"]), "R nodelist: 1 hosts for 2 ranks"),
        (damaged(properties={"a|b": "0"}), "resource property 'a|b' must not contain |"),
        (damaged(properties={"p": "0-2"}), "R property 'p': ranks 2 are not in R_lite"),
        (damaged(expiration=-1), "R expiration: expected seconds"),
        (damaged(nslots=0), "R nslots: expected an integer > 0, got 0"),
        (damaged() | {"scheduling": 1}, "R scheduling: expected an object"),
        ("[" * 100000, "R is not JSON"),
        (damaged(starttime="now"), "R starttime: expected seconds"),
    ],
)
def test_a_wrong_r_is_explained(r: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"R|resource") as e:
        ResourceSet(json.dumps(r) if isinstance(r, list) else r)
    assert str(e.value).startswith(reason)


def test_changes_that_make_no_sense_are_refused_and_change_nothing() -> None:
    rset = ResourceSet(damaged(nodelist=["a", "b"]))
    before = rset.encode()
    other = ResourceSet(damaged(nodelist=["a", "c"])).rlist
    for change, reason in [
        (lambda: rset.append(rset.copy()), "rank0/core0 is in the resource set already"),
        (lambda: rset.union(ResourceSet(other)), "rank 1 is host b in one set and c in the other"),
        (lambda: rset.rlist.add_rank(1), "rank 1 is in the resource set already"),
        (lambda: rset.rlist.add_child(7, "gpu", "0"), "rank 7 is not in the resource set"),
        (lambda: rset.set_property("p", "1-3"), "ranks 2-3 are not in the resource set"),
        (lambda: ResourceSet(version=2), "version 2 is not supported"),
    ]:
        with pytest.raises(ValueError, match=reason):
            change()
    with pytest.raises(FileNotFoundError, match="no host 'x1'"):
        rset.host_ranks("a,x[1-2]")
    assert rset.encode() == before


INVENTORY = damaged(
    R_lite=[{"rank": "0-3", "children": {"core": "0"}}],
    nodelist=["h[0-3]"],
    properties={"ssd": "0-1", "slow": "1-2"},
)


@pytest.mark.parametrize(
    ("constraint", "ranks"),
    [
        ({}, "0-3"),
        ({"properties": ["ssd"]}, "0-1"),
        ({"properties": ["ssd", "^slow"]}, "0"),
        ({"properties": ["nosuch"]}, ""),
        ({"not": [{"properties": ["slow"]}]}, "0,3"),
        ({"or": [{"properties": ["ssd"]}, {"properties": ["slow"]}]}, "0-2"),
        ({"and": [{"hostlist": ["h[0-1]", "h9"]}, {"properties": ["slow"]}]}, "1"),
        ({"not": [{"hostlist": ["h[0-1]"]}]}, "2-3"),
        ({"ranks": ["0", "2-9"]}, "0,2-3"),
        ({"or": []}, "0-3"),
        ({"and": []}, "0-3"),
        ({"not": []}, ""),
    ],
)
def test_constraints(constraint: dict[str, Any], ranks: str) -> None:
    rset = ResourceSet(INVENTORY)
    assert str(rset.copy_constraint(constraint).ranks) == ranks
    assert str(rset.copy_constraint(json.dumps(constraint)).ranks) == ranks


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ({"propertys": []}, "unknown constraint operator 'propertys', expected one of properties, hostlist"),
        ({"ranks": "0"}, "constraint operator 'ranks': expected an array"),
        ({"ranks": [0]}, "constraint operator 'ranks': expected strings, got 0"),
        ({"ranks": ["x"]}, "idset 'x'"),
        ({"and": ["x"]}, "constraint: expected an object, got 'x'"),
        ([], "constraint: expected an object"),
    ],
)
def test_a_wrong_constraint_is_explained(constraint: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"constraint|idset") as e:
        ResourceSet(INVENTORY).copy_constraint(constraint)
    assert str(e.value).startswith(reason)


def test_endless_constraints_are_refused() -> None:
    constraint: dict[str, Any] = {}
    for _ in range(100):
        constraint = {"not": [constraint]}
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        ResourceSet(INVENTORY).copy_constraint(constraint)
