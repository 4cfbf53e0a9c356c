"""The shape of the broker tree: wrong, and messages go nowhere or in circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux_plugins.overlay.topology import Topology

sizes = st.integers(1, 300)
shapes = st.one_of(
    st.builds(lambda k: f"kary:{k}", st.integers(0, 40)),
    st.builds(lambda k: f"mincrit:{k}", st.integers(0, 40)),
    st.sampled_from(["mincrit", "binomial"]),
)
trees = st.builds(Topology.from_shape, shapes, sizes)


@given(trees)
def test_parents_and_children_agree(tree: Topology) -> None:
    for rank in range(1, tree.size):
        parent = tree.parent(rank)
        assert parent is not None
        assert rank in tree.children(parent)
        assert tree.level(rank) == tree.level(parent) + 1
    assert tree.parent(0) is None
    assert sum(len(tree.children(rank)) for rank in range(tree.size)) == tree.size - 1


@given(trees)
def test_subtree_of_root_is_everyone(tree: Topology) -> None:
    assert tree.subtree(0) == list(range(tree.size))
    assert tree.descendants(0) == tree.size - 1
    assert tree.maxlevel == max(tree.level(rank) for rank in range(tree.size))


@given(trees, st.data())
def test_next_hop_leads_to_every_rank(tree: Topology, data: st.DataObject) -> None:
    ranks = st.integers(0, tree.size - 1)
    source, target = data.draw(ranks), data.draw(ranks)
    hops = 0
    while (hop := tree.next_hop(source, target)) is not None:
        assert hop == tree.parent(source) or hop in tree.children(source)
        source = hop
        hops += 1
        assert hops <= 2 * tree.maxlevel
    assert source == target


@given(trees, st.data())
def test_subtrees_of_siblings_do_not_meet(tree: Topology, data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, tree.size - 1))
    below = [r for child in tree.children(rank) for r in tree.subtree(child)]
    assert sorted([rank, *below]) == tree.subtree(rank)


@pytest.mark.parametrize(
    ("shape", "size", "parents"),
    [
        ("kary:2", 7, [0, 0, 1, 1, 2, 2]),
        ("kary:1", 4, [0, 1, 2]),
        ("kary:0", 4, [0, 0, 0]),
        ("kary:32", 4, [0, 0, 0]),
        ("mincrit:2", 7, [0, 0, 1, 2, 1, 2]),
        ("mincrit", 5, [0, 0, 0, 0]),
        ("binomial", 8, [0, 0, 2, 0, 4, 4, 6]),
    ],
)
def test_known_trees(shape: str, size: int, parents: list[int]) -> None:
    tree = Topology.from_shape(shape, size)
    assert [tree.parent(rank) for rank in range(1, size)] == parents


def test_mincrit_without_argument_bounds_the_leaves_per_router() -> None:
    tree = Topology.from_shape("mincrit", 4000)
    routers = tree.children(0)
    assert 2 <= len(routers) < 8
    assert max(len(tree.children(router)) for router in routers) <= 1024


def test_tree_as_object() -> None:
    tree = Topology.from_shape("kary:2", 4)
    leaf = {"rank": 3, "size": 1, "children": []}
    assert tree.as_tree(1) == {"rank": 1, "size": 2, "children": [leaf]}


def test_custom_tree() -> None:
    tree = Topology.from_shape("custom", 4, {2: 1, 3: 2})
    assert [tree.parent(rank) for rank in range(1, 4)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "custom", "says"),
    [
        ("kary:x", None, "kary takes a number"),
        ("kary", None, "kary takes a number"),
        ("binomial:2", None, "no argument"),
        ("ring", None, "kary, mincrit, binomial, custom"),
        ("custom", None, "configuration"),
        ("custom", {1: 2, 2: 1}, "cycle"),
        ("custom", {0: 1}, "rank 0"),
        ("custom", {1: 9}, "no rank"),
    ],
)
def test_wrong_shapes_are_refused_by_name(shape: str, custom: dict[int, int] | None, says: str) -> None:
    with pytest.raises(FluxError, match=says):
        Topology.from_shape(shape, 4, custom)
