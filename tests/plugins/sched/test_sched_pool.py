"""The pool: what a user would lose is a core given to two jobs, or one that never comes back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flux.allocation.masks import lowest, mask_of, text_of
from flux.allocation.pool import Pool, Unsatisfiable
from flux.allocation.request import ResourceRequest, read_jobspec
from flux.allocation.rset import summary, to_R
from flux.idset import IDset
from flux.resource import ResourceSet


def make_R(nodes: int = 4, cores: str = "0-3", gpus: str = "", **more: Any) -> dict[str, Any]:
    children = {"core": cores, "gpu": gpus} if gpus else {"core": cores}
    execution = {
        "R_lite": [{"rank": f"0-{nodes - 1}", "children": children}],
        "nodelist": [f"n[0-{nodes - 1}]"],
        "starttime": 0,
        "expiration": 0,
        **more,
    }
    return {"version": 1, "execution": execution}


def make_pool(*args: Any, **kwargs: Any) -> Pool:
    pool = Pool(make_R(*args, **kwargs))
    pool.set_up(pool.nodes, True)
    return pool


@given(st.sets(st.integers(0, 200)))
def test_masks_are_idsets(ids: set[int]) -> None:
    text = str(IDset(ids))
    assert text_of(mask_of(text)) == text
    assert mask_of(text).bit_count() == len(ids)


@given(st.sets(st.integers(0, 100), min_size=1), st.data())
def test_lowest_takes_the_first_ids(ids: set[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(ids)))
    assert text_of(lowest(mask_of(str(IDset(ids))), count)) == str(IDset(sorted(ids)[:count]))


def test_first_fit_fills_the_lowest_rank_and_core_first() -> None:
    pool = make_pool()
    assert pool.allocate(1, ResourceRequest(0, 1, 1)) == {0: (0b1, 0)}
    assert pool.allocate(2, ResourceRequest(0, 2, 2)) == {0: (0b110, 0), 1: (0b11, 0)}
    assert pool.allocate(3, ResourceRequest(2, 1, 1)) == {0: (0b1000, 0), 1: (0b100, 0)}


def test_exclusive_takes_whole_idle_nodes() -> None:
    pool = make_pool(nodes=2)
    pool.allocate(1, ResourceRequest(0, 1, 1))
    assert pool.allocate(2, ResourceRequest(1, 1, 1, exclusive=True)) == {1: (0b1111, 0)}
    assert pool.allocate(3, ResourceRequest(1, 1, 1, exclusive=True)) is None


def test_gpus_are_counted_per_slot() -> None:
    pool = make_pool(nodes=2, gpus="0-1")
    assert pool.allocate(1, ResourceRequest(0, 3, 1, gpus=1)) == {0: (0b11, 0b11), 1: (0b1, 0b1)}
    assert pool.allocate(2, ResourceRequest(0, 2, 1, gpus=1)) is None


def test_a_rank_that_is_down_is_not_used_but_counts_as_there() -> None:
    pool = make_pool(nodes=2)
    pool.set_up([0], False)
    pool.check(ResourceRequest(2, 1, 1))
    assert pool.allocate(1, ResourceRequest(2, 1, 1)) is None
    assert pool.allocate(2, ResourceRequest(1, 1, 1)) == {1: (1, 0)}


def test_constraints_choose_ranks() -> None:
    pool = make_pool(properties={"ssd": "2-3"})
    asked = ResourceRequest(1, 1, 1, constraint={"properties": ["ssd"]})
    assert pool.allocate(1, asked) == {2: (1, 0)}
    assert pool.allocate(2, ResourceRequest(1, 1, 1, constraint={"hostlist": ["n1"]})) == {1: (1, 0)}


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (ResourceRequest(5, 1, 1), "5 nodes asked, the instance has 4"),
        (ResourceRequest(0, 17, 1), "17 cores asked, the instance has 16 cores on 4 nodes"),
        (ResourceRequest(0, 1, 5), "1 slot of 5 cores asked, the instance has room for 0: 16 cores on 4 nodes"),
        (ResourceRequest(2, 1, 5), "2 nodes with 1 slot of 5 cores each asked, the instance has 0 such: 16 cores on 4"),
        (ResourceRequest(0, 1, 1, gpus=1), "1 slot of 1 core and 1 gpu asked, the instance has room for 0: 16 cores"),
        (
            ResourceRequest(2, 5, 1),
            "2 nodes with 5 cores each asked, the instance has 0 such: 16 cores on 4 nodes in all",
        ),
        (
            ResourceRequest(3, 1, 1, constraint={"properties": ["ssd"]}),
            "3 nodes asked, those that match the constraint have 2",
        ),
        (ResourceRequest(1, 1, 1, constraint={"colour": ["red"]}), "unknown constraint operator 'colour'"),
    ],
)
def test_what_can_never_be_is_refused_with_both_numbers(asked: ResourceRequest, text: str) -> None:
    with pytest.raises(Unsatisfiable, match="unsatisfiable request") as error:
        make_pool(properties={"ssd": "2-3"}).check(asked)
    assert text in str(error.value)


def test_a_running_job_is_claimed_less_what_it_freed() -> None:
    pool = make_pool(nodes=2)
    assert pool.claim(1, make_R(nodes=2, cores="0-1", expiration=5.0), IDset("0")) == ""
    assert (pool.jobs[1], pool.ends) == ({1: (0b11, 0)}, {1: 5.0})
    assert pool.allocate(3, ResourceRequest(1, 4, 1)) == {0: (0b1111, 0)}


def test_a_running_job_that_does_not_fit_is_claimed_as_far_as_it_does() -> None:
    pool = make_pool(nodes=2)
    pool.claim(1, make_R(nodes=1, cores="0"))
    assert pool.claim(2, make_R(nodes=3, cores="0-1")) == "resources on rank 0,2 do not exist or are taken"
    assert pool.allocated() == {0: (0b11, 0), 1: (0b11, 0)}
    pool.free(2)
    assert pool.allocated() == {0: (0b1, 0)}
    with pytest.raises(ValueError, match="none of version 1"):
        pool.claim(3, {"version": 2})


@pytest.mark.parametrize(("fit", "rank"), [("first-fit", 0), ("best-fit", 1), ("worst-fit", 2)])
def test_a_fit_says_which_nodes_come_first(fit: Any, rank: int) -> None:
    pool = make_pool(nodes=3)
    pool.take(1, {0: (0b1, 0), 1: (0b11, 0)})
    chosen = pool.allocate(2, ResourceRequest(0, 1, 1), fit)
    assert chosen is not None and list(chosen) == [rank]


def test_a_rank_can_be_freed_before_the_rest() -> None:
    pool = make_pool(nodes=2)
    pool.allocate(1, ResourceRequest(2, 4, 1))
    pool.free(1, [0])
    assert pool.allocated() == {1: (0b1111, 0)}
    with pytest.raises(ValueError, match="nothing on rank 0"):
        pool.free(1, [0])
    pool.free(1)
    assert not pool.allocated() and not pool.jobs


def test_a_rank_that_left_takes_its_cores_along() -> None:
    pool = make_pool(nodes=2)
    pool.allocate(1, ResourceRequest(2, 1, 1))
    pool.remove([1])
    pool.free(1)
    with pytest.raises(Unsatisfiable):
        pool.check(ResourceRequest(2, 1, 1))


def test_R_groups_ranks_and_names_hosts() -> None:
    pool = make_pool(properties={"ssd": "0-1", "+here": "0"})
    allocation = pool.allocate(1, ResourceRequest(3, 1, 2))
    assert allocation is not None
    R = to_R(pool, allocation, 1.0, 2.0, 3)
    assert R == {
        "version": 1,
        "execution": {
            "R_lite": [{"rank": "0-2", "children": {"core": "0-1"}}],
            "starttime": 1.0,
            "expiration": 2.0,
            "nodelist": ["n[0-2]"],
            "nslots": 3,
            "properties": {"ssd": "0-1"},
        },
    }
    assert ResourceSet(R).ncores == 6


class PoolModel(RuleBasedStateMachine):
    """Whatever is asked and given back: no core twice, and all of them free in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = make_pool(nodes=3, cores="0-4", gpus="0-1")
        self.next_id = 0

    @rule(
        nnodes=st.integers(0, 3),
        slots=st.integers(1, 4),
        cores=st.integers(1, 3),
        gpus=st.integers(0, 1),
        exclusive=st.booleans(),
    )
    def allocate(self, nnodes: int, slots: int, cores: int, gpus: int, exclusive: bool) -> None:
        self.next_id += 1
        asked = ResourceRequest(nnodes, slots, cores, gpus, exclusive and nnodes > 0)
        got = self.pool.allocate(self.next_id, asked)
        if got is None:
            return
        assert not nnodes or len(got) == nnodes
        assert all(self.pool.nodes[rank].up for rank in got)
        given_cores = sum(masks[0].bit_count() for masks in got.values())
        assert given_cores >= asked.nslots * cores if asked.exclusive else given_cores == asked.nslots * cores

    @rule(data=st.data(), whole=st.booleans())
    def free(self, data: st.DataObject, whole: bool) -> None:
        if not self.pool.jobs:
            return
        jobid = data.draw(st.sampled_from(sorted(self.pool.jobs)))
        rank = data.draw(st.sampled_from(sorted(self.pool.jobs[jobid])))
        self.pool.free(jobid, None if whole else [rank])

    @rule(rank=st.integers(0, 2), up=st.booleans())
    def change(self, rank: int, up: bool) -> None:
        self.pool.set_up([rank], up)

    @invariant()
    def nothing_is_held_twice_or_lost(self) -> None:
        for rank, node in self.pool.nodes.items():
            held_cores = held_gpus = 0
            for allocation in self.pool.jobs.values():
                cores, gpus = allocation.get(rank, (0, 0))
                assert not held_cores & cores and not held_gpus & gpus
                held_cores |= cores
                held_gpus |= gpus
            assert node.free_cores == node.cores & ~held_cores
            assert node.free_gpus == node.gpus & ~held_gpus

    def teardown(self) -> None:
        for jobid in list(self.pool.jobs):
            self.pool.free(jobid)
        assert all(node.idle for node in self.pool.nodes.values())


TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(max_examples=60, stateful_step_count=30)


def jobspec(resources: Any, **system: Any) -> dict[str, Any]:
    return {"version": 1, "resources": resources, "tasks": [], "attributes": {"system": system}}


def slot(count: Any = 1, *contents: dict[str, Any]) -> dict[str, Any]:
    return {"type": "slot", "count": count, "label": "task", "with": list(contents) or [{"type": "core", "count": 1}]}


def test_a_jobspec_is_read() -> None:
    contents = ({"type": "core", "count": 2}, {"type": "gpu", "count": 1})
    node = {"type": "node", "count": 3, "exclusive": True, "with": [slot(4, *contents)]}
    asked = read_jobspec(jobspec([node], duration=60.0, constraints={"ranks": ["0"]}))
    assert asked == ResourceRequest(3, 4, 2, 1, True, 60.0, {"ranks": ["0"]})
    assert asked.nslots == 12
    assert read_jobspec(jobspec([slot(5)])) == ResourceRequest(0, 5, 1)


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ([], "node>slot"),
        ([slot(), slot()], "node>slot"),
        ([slot({"min": 2})], "count of slot"),
        ([slot(1, {"type": "gpu", "count": 1})], "at least one core"),
        ([slot(1, {"type": "memory", "count": 1})], "'memory'"),
        ([{"type": "rack", "count": 1, "with": [slot()]}], "'rack'"),
        ("slot", "node>slot"),
    ],
)
def test_a_jobspec_this_scheduler_cannot_place_is_refused(resources: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        read_jobspec(jobspec(resources))


def test_an_allocation_has_a_short_form() -> None:
    assert summary({0: (0b1, 0)}) == "rank0/core0"
    assert summary({0: (0b111, 0b1), 1: (0b111, 0b1), 3: (0b1, 0)}) == "rank[0-1]/core[0-2],gpu0 rank3/core0"
