"""flux.taskmap: RFC 34 test vectors, distributions, and every text form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.idset import IDset
from flux.taskmap import TaskMap, decode

VECTORS = [
    ("", "[]"),
    ("0", "[[0,1,1,1]]"),
    ("0;1", "[[0,2,1,1]]"),
    ("0-1", "[[0,1,2,1]]"),
    ("0-1;2-3", "[[0,2,2,1]]"),
    ("0,2;1,3", "[[0,2,1,2]]"),
    ("1;0", "[[1,1,1,1],[0,1,1,1]]"),
    ("0-3;4-7;8-11;12-15", "[[0,4,4,1]]"),
    ("0,4,8,12;1,5,9,13;2,6,10,14;3,7,11,15", "[[0,4,1,4]]"),
    ("0-1,8-9;2-3,10-11;4-5,12-13;6-7,14-15", "[[0,4,2,2]]"),
    ("0-1;2-3;4-5;6-7;8-11;12-15", "[[0,4,2,1],[4,2,4,1]]"),
    ("0,6;1,7;2,8;3,9;4,10,12,14;5,11,13,15", "[[0,6,1,2],[4,2,1,2]]"),
    ("14-15;12-13;10-11;8-9;4-7;0-3", "[[5,1,4,1],[4,1,4,1],[3,1,2,1],[2,1,2,1],[1,1,2,1],[0,1,2,1]]"),
    ("0-1;2-3;4-5;6-7;8-9;12-13;10-11;14-15", "[[0,5,2,1],[6,1,2,1],[5,1,2,1],[7,1,2,1]]"),
    ("12-15;8-11;4-7;0-3", "[[3,1,4,1],[2,1,4,1],[1,1,4,1],[0,1,4,1]]"),
]


@pytest.mark.parametrize(("raw", "encoded"), VECTORS)
def test_rfc_34_vectors(raw: str, encoded: str) -> None:
    assert decode(raw).encode() == encoded and decode(encoded).raw() == raw
    assert decode({"version": 1, "map": json.loads(encoded)}) == decode(raw)
    assert decode(json.dumps(decode(raw).wrap())) == decode(raw)


@pytest.mark.parametrize(
    ("counts", "stride", "pmi"),
    [
        ([2, 2], 0, "(vector,(0,2,2))"),
        ([2, 2], 1, "(vector,(0,2,1),(0,2,1))"),
        ([2, 2, 4, 4], 0, "(vector,(0,2,2),(2,2,4))"),
        ([2, 2, 4, 4], 1, "(vector,(0,4,1),(0,4,1),(2,2,1),(2,2,1))"),
        ([4] * 4, 2, "(vector,(0,4,2),(0,4,2))"),
        ([256] * 4096, 0, "(vector,(0,4096,256))"),
    ],
)
def test_pmi_examples(counts: list[int], stride: int, pmi: str) -> None:
    taskmap = TaskMap.cyclic(counts, stride) if stride else TaskMap.block(counts)
    assert taskmap.pmi() == pmi and decode(pmi) == taskmap and taskmap.counts() == counts


@given(st.permutations(range(12)), st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_any_placement_is_kept(order: list[int], nodes: list[int]) -> None:
    placed: list[IDset] = [IDset() for _ in range(5)]
    for task, node in zip(order, nodes, strict=True):
        placed[node].set(task)
    taskmap = TaskMap.from_idsets(placed)
    assert taskmap.ntasks() == 12 and taskmap.known
    for node, ids in enumerate(placed):
        assert taskmap.taskids(node) == ids and all(taskmap.nodeid(task) == node for task in ids)
    for text in (taskmap.encode(), taskmap.raw(), taskmap.pmi()):
        assert decode(text) == taskmap


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(1, 4))
def test_distributions_give_each_node_its_count(counts: list[int], stride: int) -> None:
    for taskmap in (TaskMap.block(counts), TaskMap.cyclic(counts, stride)):
        assert [len(taskmap.taskids(node)) for node in range(len(counts))] == counts
        assert taskmap.counts() == counts[: taskmap.nnodes()] and taskmap.ntasks() == sum(counts)
    first_turn = [node for node, count in enumerate(counts) for _ in range(min(stride, count))]
    cyclic = TaskMap.cyclic(counts, stride)
    assert [cyclic.nodeid(task) for task in range(len(first_turn))] == first_turn


def test_a_million_tasks_are_cheap() -> None:
    taskmap = decode("[[0,4096,1,256]]")
    assert taskmap.nodeid(4096 * 200 + 7) == 7 and taskmap.taskids(4095).count() == 256
    assert taskmap.pmi(max_length=1024) == "" and TaskMap().pmi() == "" and not TaskMap().known


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[0,1,1]]", "a block is"),
        ("[[0,1,1,true]]", "a block is"),
        ("[[-1,1,1,1]]", "nodeid >= 0"),
        ("[[0,1,0,1]]", "the rest > 0"),
        ("[[0,1000000,1000000,1]]", "more than"),
        ("[[0", "invalid JSON"),
        ('{"version":2,"map":[]}', "version 1, got 2"),
        ('{"version":1}', "array of blocks, got None"),
        ("(vector)", "expected (vector,"),
        ("(vector,(0,1))", "expected (vector,"),
        ("0;0", "task 0 is on two nodes"),
        ("0;2", "task 1 is on no node"),
        ("x", "'x' is neither an id"),
    ],
)
def test_a_wrong_map_is_explained(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"taskmap|idset") as e:
        decode(text)
    assert reason in str(e.value)


def test_questions_about_nothing() -> None:
    with pytest.raises(ValueError, match="no task 4, there are 4"):
        TaskMap.block([2, 2]).nodeid(4)
    with pytest.raises(ValueError, match="stride must be > 0"):
        TaskMap.cyclic([1], 0)
    assert TaskMap.block([2, 2]).taskids(9) == IDset()


@given(st.text("0123456789[](),;-vector{}", max_size=16))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        taskmap = decode(text)
    except ValueError as e:
        assert str(e)
    else:
        assert decode(taskmap.encode()) == taskmap
