"""The timeline and the forecast: what a user would lose is a promised start, or an estimate that is wrong."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flux.allocation.node import Allocation
from flux.allocation.pool import Pool
from flux.allocation.request import ResourceRequest
from flux_plugins.sched.forecast import first_come
from flux_plugins.sched.queue import Pending
from flux_plugins.sched.timeline import OVERDUE, Timeline

NOW = 1000.0


def make_pool(nodes: int = 2, cores: str = "0-3", **more: Any) -> Pool:
    children = {"core": cores}
    execution = {
        "R_lite": [{"rank": f"0-{nodes - 1}", "children": children}],
        "nodelist": [f"n[0-{nodes - 1}]"],
        **more,
    }
    pool = Pool({"version": 1, "execution": execution})
    pool.set_up(pool.nodes, True)
    return pool


def run(pool: Pool, jobid: int, allocation: Allocation, end: float) -> None:
    pool.take(jobid, allocation)
    pool.set_end(jobid, end)


def test_a_job_starts_when_those_before_it_have_ended() -> None:
    pool = make_pool()
    run(pool, 1, {0: (0b1111, 0)}, NOW + 50)
    run(pool, 2, {1: (0b1111, 0)}, NOW + 80)
    timeline = Timeline(pool, NOW)
    one, both = ResourceRequest(0, 1, 1), ResourceRequest(2, 4, 1)
    assert timeline.find_now(one, 10) is None
    assert timeline.find(one, 10) == (NOW + 50, {0: (0b1, 0)})
    assert timeline.find(one, 10, earliest=NOW + 60) == (NOW + 60, {0: (0b1, 0)})
    assert timeline.find(both, math.inf) == (NOW + 80, {0: (0b1111, 0), 1: (0b1111, 0)})


def test_a_promise_is_kept_clear_of() -> None:
    pool = make_pool()
    run(pool, 1, {0: (0b1111, 0)}, NOW + 50)
    timeline = Timeline(pool, NOW)
    timeline.use(NOW + 50, NOW + 90, {0: (0b1111, 0), 1: (0b1111, 0)})
    slot = ResourceRequest(0, 1, 1)
    assert timeline.find_now(slot, 50) == (NOW, {1: (0b1, 0)})
    assert timeline.find_now(slot, 51) is None
    assert timeline.find(slot, 51) == (NOW + 90, {0: (0b1, 0)})


def test_what_has_no_end_or_is_down_is_never_counted_on() -> None:
    pool = make_pool()
    run(pool, 1, {0: (0b1111, 0)}, 0)
    pool.set_up([1], False)
    assert Timeline(pool, NOW).find(ResourceRequest(0, 1, 1), 10) is None


def test_an_overdue_job_is_given_some_time() -> None:
    pool = make_pool(nodes=1)
    run(pool, 1, {0: (0b1111, 0)}, NOW - 5)
    found = Timeline(pool, NOW).find(ResourceRequest(0, 1, 1), 10)
    assert found is not None and found.start == NOW + OVERDUE


def test_a_constraint_holds_later_too() -> None:
    pool = make_pool(properties={"ssd": "1"})
    run(pool, 1, {1: (0b1111, 0)}, NOW + 50)
    asked = ResourceRequest(0, 1, 1, constraint={"properties": ["ssd"]})
    assert Timeline(pool, NOW).find(asked, 10) == (NOW + 50, {1: (0b1, 0)})


def test_first_come_is_first_served_in_the_forecast() -> None:
    pool = make_pool(nodes=1)
    run(pool, 1, {0: (0b111, 0)}, NOW + 50)
    asked = [ResourceRequest(0, 4, 1, duration=20.0), ResourceRequest(0, 1, 1), ResourceRequest(0, 4, 1)]
    jobs = [Pending(i, 16, float(i), request, None) for i, request in enumerate(asked)]
    told = [item.annotations for item in first_come(pool, jobs, Timeline(pool, NOW), NOW)]
    assert told[0]["reason_pending"] == "insufficient resources: 4 cores asked, 1 core free on 1 node"
    assert [item.get("t_estimate") for item in told] == [NOW + 50, NOW + 70, None]
    assert [item["jobs_ahead"] for item in told] == [0, 1, 2]


def test_nodes_that_are_down_are_the_reason() -> None:
    pool = make_pool(nodes=2)
    pool.set_up([1], False)
    job = Pending(1, 16, 0.0, ResourceRequest(2, 1, 1), None)
    (told,) = first_come(pool, [job], Timeline(pool, NOW), NOW)
    expected = "insufficient resources: 2 nodes with 1 core each asked, 1 node is down or drained"
    assert told.annotations == {"reason_pending": expected, "jobs_ahead": 0}


REQUEST = st.builds(ResourceRequest, st.integers(0, 2), st.integers(1, 3), st.integers(1, 2))


@settings(max_examples=60)
@given(st.lists(st.tuples(REQUEST, st.integers(1, 50)), max_size=12))
def test_no_core_is_promised_twice(asked: list[tuple[ResourceRequest, int]]) -> None:
    timeline = Timeline(make_pool(nodes=3), NOW)
    uses: list[tuple[float, float, Allocation]] = []
    for request, duration in asked:
        slot = timeline.find(request, duration)
        if slot is None:
            continue
        end = slot.start + duration
        for start, stop, other in uses:
            if start < end and slot.start < stop:
                assert all(not slot.allocation[rank][0] & other[rank][0] for rank in slot.allocation if rank in other)
        uses.append((slot.start, end, slot.allocation))
        timeline.use(slot.start, end, slot.allocation)


def test_a_start_is_found_where_a_promise_begins_as_a_job_ends() -> None:
    pool = make_pool()
    run(pool, 1, {0: (0b1111, 0)}, NOW + 50)
    run(pool, 2, {1: (0b1111, 0)}, NOW + 80)
    timeline = Timeline(pool, NOW)
    timeline.use(NOW + 80, NOW + 500, {0: (0b1111, 0)})
    found = timeline.find(ResourceRequest(1, 4, 1), 100)
    assert found == (NOW + 80, {1: (0b1111, 0)}) and timeline.effort > 0
