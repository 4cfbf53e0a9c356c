"""From jobspec and R to tasks on nodes (RFC 14, 20, 25)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell_jobs import jobspec, resources

from flux_shell.job import Job, JobError, unwrap
from flux_shell.layout import LayoutError, Node, count_tasks, nodes_of

counts = st.lists(st.integers(1, 8), min_size=1, max_size=6)


def spec(resources: list[dict[str, Any]], **count: Any) -> dict[str, Any]:
    return {"resources": resources, "tasks": [{"command": ["true"], "count": count or {"per_slot": 1}}]}


def slot(count: int, cores: int) -> dict[str, Any]:
    return {"type": "slot", "count": count, "label": "task", "with": [{"type": "core", "count": cores}]}


@given(counts)
def test_one_core_slots_fill_what_was_allocated(cores: list[int]) -> None:
    nodes = nodes_of(resources(cores))
    assert count_tasks(jobspec(["true"], sum(cores)), nodes, {}) == cores


@given(counts, st.integers(1, 40))
def test_a_total_is_spread_evenly_and_exactly(cores: list[int], total: int) -> None:
    nodes = nodes_of(resources(cores))
    dealt = count_tasks(spec([slot(sum(cores), 1)], total=total), nodes, {})
    assert sum(dealt) == total
    if total <= sum(cores):
        assert all(count <= room for count, room in zip(dealt, cores, strict=True))
        roomy = [count for count, room in zip(dealt, cores, strict=True) if count < room]
        assert not roomy or max(dealt) - min(roomy) <= 1


def test_slots_in_nodes_and_nodes_in_slots() -> None:
    nodes = nodes_of(resources([4, 4]))
    assert count_tasks(spec([{"type": "node", "count": 2, "with": [slot(2, 1)]}]), nodes, {}) == [2, 2]
    assert count_tasks(spec([slot(4, 2)], per_slot=3), nodes, {}) == [6, 6]
    whole = {"type": "slot", "count": 2, "label": "task", "with": [{"type": "node", "count": 1}]}
    assert count_tasks(spec([whole]), nodes, {}) == [1, 1]


def test_more_resources_than_were_asked_for_make_no_more_tasks() -> None:
    nodes = nodes_of(resources([4, 4]))
    assert count_tasks(spec([slot(3, 1)]), nodes, {}) == [2, 1]
    span = {"min": 2, "max": 8, "operator": "+", "operand": 1}
    for count in (span, "2-8"):
        assert count_tasks(spec([{**slot(2, 1), "count": count}]), nodes, {}) == [4, 4]


@pytest.mark.parametrize(("option", "expected"), [("node", [2, 2]), ("core", [6, 2])])
def test_per_resource_replaces_the_slots(option: str, expected: list[int]) -> None:
    nodes = nodes_of(resources([3, 1]))
    assert count_tasks(jobspec(["true"], 4), nodes, {"per-resource": {"type": option, "count": 2}}) == expected


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"type": "core", "count": "x"}, "per-resource.count=x: a number above 0"),
        ({"type": "core", "count": -1}, "per-resource.count=-1: a number above 0"),
        ({"type": "core", "count": True}, "per-resource.count=True"),
        ({"type": "core", "cont": 2}, "did you mean per-resource.count"),
        ({"count": 2}, "needs a type"),
        (5, "needs a type"),
    ],
)
def test_a_bad_per_resource_is_refused(option: object, text: str) -> None:
    with pytest.raises(JobError, match=text):
        Job(1, jobspec(["true"], shell={"options": {"per-resource": option}}), resources([1]))


def test_nodes_are_in_rank_order_whatever_the_order_in_r() -> None:
    lite = [{"rank": "3", "children": {"core": "0"}}, {"rank": "0,2", "children": {"core": "0-1", "gpu": "0"}}]
    nodes = nodes_of({"execution": {"R_lite": lite}})
    assert nodes == [Node(0, "0-1", "0"), Node(2, "0-1", "0"), Node(3, "0", "")]


@pytest.mark.parametrize("r", [{}, {"execution": {"R_lite": []}}, {"execution": {"R_lite": [{"rank": "x"}]}}])
def test_bad_r_is_refused(r: dict[str, Any]) -> None:
    with pytest.raises(LayoutError, match="R "):
        nodes_of(r)


@pytest.mark.parametrize("text", ["", "a.b", "aGk=.aGk=.none", "aGk=.W10=.none"])
def test_bad_j_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="J "):
        unwrap(text)


@pytest.mark.parametrize("change", [{"resources": []}, {"tasks": []}, {"attributes": {"system": 3}}])
def test_bad_jobspec_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(JobError):
        Job(1, jobspec(["true"]) | change, resources([1]))
