"""The life of a job (RFC 21): no sequence of events may leave a job in a state that makes no sense, or stuck."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_plugins.job_manager import job as job_module
from flux_plugins.job_manager import machine
from flux_plugins.job_manager.job import Alloc, Job
from flux_plugins.job_manager.machine import Action, IllegalEvent, merge, next_actions, transition

CONTEXTS: dict[str, dict[str, Any]] = {
    "submit": {"urgency": 16, "userid": 5, "flags": 0, "version": 1},
    "dependency-add": {"description": "after=x"},
    "dependency-remove": {"description": "after=x"},
    "priority": {"priority": 16},
    "urgency": {"urgency": 0, "userid": 5},
    "finish": {"status": 0},
    "release": {"ranks": "all", "final": True},
    "exception": {"type": "cancel", "severity": 0, "note": "", "userid": 5},
    "memo": {"uri": "local:///x"},
    "set-flags": {"flags": ["debug"]},
    "jobspec-update": {"attributes.system.duration": 5},
    "resource-update": {"expiration": 7},
    "prolog-start": {"description": "prolog"},
    "prolog-finish": {"description": "prolog", "status": 0},
    "epilog-start": {"description": "epilog"},
    "epilog-finish": {"description": "epilog", "status": 0},
}
PLAIN = ("validate", "depend", "alloc", "start", "free", "clean", "flux-restart", "debug.x")
NAMES = (*CONTEXTS, *PLAIN)
ORDER = [
    job_module.NEW,
    job_module.DEPEND,
    job_module.PRIORITY,
    job_module.SCHED,
    job_module.RUN,
    job_module.CLEANUP,
    job_module.INACTIVE,
]


def event(name: str, **context: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"timestamp": 1.0, "name": name}
    content = {**CONTEXTS.get(name, {}), **context}
    return entry | {"context": content} if content else entry


def fresh() -> Job:
    return Job(1, {"attributes": {"system": {"duration": 1}}})


def job_after(*names: str) -> Job:
    job = fresh()
    for name in names:
        transition(job, event(name))
    return job


def snapshot(job: Job) -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(job, name)) for name in Job.__slots__}


def check(job: Job) -> None:
    """What has to hold of a job in any state."""
    if job.state == job_module.INACTIVE:
        assert not job.has_resources
        assert next_actions(job) == ()
    if job.state == job_module.RUN:
        assert job.has_resources and job.exception is None and job.status == -1
    if job.state in (job_module.DEPEND, job_module.PRIORITY, job_module.SCHED):
        assert not job.has_resources and job.exception is None
    if job.state > job_module.PRIORITY and job.state < job_module.CLEANUP:
        assert not job.waits_for_dependency
    assert (job.end_event is None) == (job.exception is None and job.status == -1)


@given(st.lists(st.sampled_from(NAMES), max_size=40))
def test_any_events_keep_the_invariants_and_illegal_ones_change_nothing(names: list[str]) -> None:
    job = job_after("submit")
    for name in names:
        before, state = snapshot(job), job.state
        try:
            transition(job, event(name))
        except IllegalEvent:
            assert snapshot(job) == before
        else:
            went_back = (state, job.state) == (job_module.SCHED, job_module.PRIORITY)
            assert went_back or ORDER.index(job.state) >= ORDER.index(state)
        check(job)


@given(st.lists(st.sampled_from(NAMES), max_size=40))
def test_replaying_an_eventlog_gives_the_same_job(names: list[str]) -> None:
    job = job_after("submit")
    for name in names:
        try:
            transition(job, event(name))
        except IllegalEvent:
            continue
    replayed = fresh()
    for entry in job.events:
        transition(replayed, entry)
    assert snapshot(replayed) == snapshot(job)


class World:
    """Carries out actions the way the scheduler, the execution service and a priority policy would."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.freed = 0

    def post(self, name: str, **context: Any) -> None:
        transition(self.job, event(name, **context))

    def step(self) -> bool:
        job = self.job
        for action in next_actions(job):
            self.act(action)
            return True
        if job.state == job_module.PRIORITY:
            self.post("priority", priority=max(job.urgency, 1))
        elif job.alloc is Alloc.PENDING:
            job.alloc = Alloc.NONE
            self.post("alloc")
        elif job.alloc is Alloc.CANCELING:
            job.alloc = Alloc.NONE
        elif job.executing and not job.started and job.exception is None:
            self.post("start")
        elif job.executing and job.status == -1 and job.started:
            self.post("finish")
        elif job.executing:
            self.post("release")
        else:
            return False
        return True

    def act(self, action: Action) -> None:
        job = self.job
        if action is Action.POST_DEPEND:
            self.post("depend")
        elif action is Action.QUEUE_ALLOC:
            job.alloc, job.alloc_priority = Alloc.PENDING, job.priority
        elif action is Action.PRIORITIZE_ALLOC:
            job.alloc_priority = job.priority
        elif action is Action.DEQUEUE_ALLOC:
            job.alloc = Alloc.NONE
        elif action is Action.CANCEL_ALLOC:
            job.alloc = Alloc.CANCELING
        elif action is Action.START:
            job.executing = job.launched = True
        elif action is Action.FREE:
            self.freed += 1
            self.post("free")
        else:
            self.post("clean")


@given(st.integers(0, 30), st.sampled_from(["exception", "memo", "urgency", "jobspec-update", "epilog-start"]))
def test_a_job_always_comes_to_its_end_whatever_happens_on_the_way(when: int, what: str) -> None:
    world = World(job_after("submit", "validate"))
    for step in range(100):
        if step == when:
            try:
                world.post(what)
            except IllegalEvent:
                pass
        if not world.step():
            if not world.job.epilogs:
                break
            world.post("epilog-finish")
    assert world.job.state == job_module.INACTIVE
    assert world.freed == sum(entry["name"] == "alloc" for entry in world.job.events)


def test_a_normal_life() -> None:
    world = World(job_after("submit", "validate"))
    while world.step():
        pass
    names = [entry["name"] for entry in world.job.events]
    assert names == "submit validate depend priority alloc start finish release free clean".split()


def test_a_job_waits_for_its_dependencies() -> None:
    job = job_after("submit", "dependency-add", "validate")
    assert next_actions(job) == ()
    transition(job, event("dependency-remove"))
    assert next_actions(job) == (Action.POST_DEPEND,)
    with pytest.raises(IllegalEvent, match="is not a dependency of the job"):
        transition(job, event("dependency-remove"))


def test_a_prolog_holds_the_start_and_an_epilog_the_free() -> None:
    job = job_after("submit", "validate", "depend", "priority", "alloc", "prolog-start")
    assert next_actions(job) == ()
    transition(job, event("prolog-finish"))
    assert next_actions(job) == (Action.START,)
    for name in ("start", "epilog-start", "finish", "release"):
        transition(job, event(name))
    assert next_actions(job) == ()
    transition(job, event("epilog-finish"))
    assert next_actions(job) == (Action.FREE,)


def test_a_held_job_asks_for_nothing() -> None:
    job = job_after("submit", "validate", "depend")
    transition(job, event("priority", priority=0))
    assert next_actions(job) == ()


def test_holding_a_job_takes_its_request_back() -> None:
    job = job_after("submit", "validate", "depend", "priority")
    job.alloc = Alloc.PENDING
    transition(job, event("urgency"))
    transition(job, event("priority", priority=0))
    assert next_actions(job) == (Action.CANCEL_ALLOC,)


def test_a_fatal_exception_while_running_waits_for_the_execution_service() -> None:
    job = job_after("submit", "validate", "depend", "priority", "alloc")
    job.executing = job.launched = True
    transition(job, event("exception"))
    assert job.state == job_module.CLEANUP
    assert next_actions(job) == ()
    transition(job, event("release"))
    assert next_actions(job) == (Action.FREE,)


def test_a_fatal_exception_of_a_new_job_takes_effect_once_it_is_validated() -> None:
    job = job_after("submit", "exception")
    assert job.state == job_module.NEW
    transition(job, event("validate"))
    assert job.state == job_module.CLEANUP
    assert next_actions(job) == (Action.POST_CLEAN,)


def test_an_exception_that_is_not_fatal_changes_no_state() -> None:
    job = job_after("submit", "validate")
    transition(job, event("exception", severity=1))
    assert job.state == job_module.DEPEND and job.end_event is None


def test_annotations_merge_as_rfc_27_says() -> None:
    target = {"sched": {"t_estimate": 1.0, "queue": "a"}, "user": {"x": 1}}
    merge(target, {"sched": {"t_estimate": None, "reason": "busy"}, "user": None, "new": 2})
    assert target == {"sched": {"queue": "a", "reason": "busy"}, "new": 2}


def test_a_jobspec_update_leaves_the_original_alone() -> None:
    original = {"attributes": {"system": {"duration": 1, "queue": "a"}}}
    updated = machine.updated_jobspec(original, {"attributes.system.duration": 9, "attributes.user.x.y": 1})
    assert updated == {"attributes": {"system": {"duration": 9, "queue": "a"}, "user": {"x": {"y": 1}}}}
    assert original == {"attributes": {"system": {"duration": 1, "queue": "a"}}}
