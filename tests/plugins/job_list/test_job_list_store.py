"""The job list: what a user would lose is a job that is not shown, shown wrongly, or shown in the wrong place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.constants import (
    FLUX_JOB_RESULT_CANCELED,
    FLUX_JOB_RESULT_COMPLETED,
    FLUX_JOB_RESULT_FAILED,
    FLUX_JOB_RESULT_TIMEOUT,
    FLUX_JOB_STATE_CLEANUP,
    FLUX_JOB_STATE_INACTIVE,
    FLUX_JOB_STATE_PRIORITY,
    FLUX_JOB_STATE_RUN,
    FLUX_JOB_STATE_SCHED,
)
from flux.errors import FluxError, ProtocolError
from flux_plugins.job_list.attributes import ATTRIBUTES, expand
from flux_plugins.job_list.constraint import compile_constraint
from flux_plugins.job_list.job import ListedJob
from flux_plugins.job_list.pages import LISTS_PER_CLIENT, Pages
from flux_plugins.job_list.store import Store

JOBSPEC: dict[str, Any] = {
    "version": 1,
    "resources": [
        {
            "type": "node",
            "count": 2,
            "with": [
                {"type": "slot", "count": 3, "label": "task", "with": [{"type": "core", "count": 4}]},
            ],
        }
    ],
    "tasks": [{"command": ["/bin/app", "-x"], "slot": "task", "count": {"per_slot": 1}}],
    "attributes": {"system": {"duration": 60.0, "cwd": "/home/u", "queue": "batch"}},
}
R: dict[str, Any] = {
    "version": 1,
    "execution": {
        "R_lite": [{"rank": "1-2", "children": {"core": "0-11"}}],
        "nodelist": ["n[1-2]"],
        "starttime": 5.0,
        "expiration": 65.0,
    },
}
WAYS = {
    "submit": ("submit", {"userid": 100, "urgency": 16, "flags": 0}),
    "validate": ("validate", {}),
    "depend": ("depend", {}),
    "priority": ("priority", {"priority": 16}),
    "alloc": ("alloc", {}),
    "start": ("start", {}),
    "finish": ("finish", {"status": 0}),
    "release": ("release", {"ranks": "all", "final": True}),
    "free": ("free", {}),
    "clean": ("clean", {}),
}
PENDING = ("submit", "validate", "depend", "priority")
WHOLE = tuple(WAYS)


def events(*names: str | tuple[str, dict[str, Any]], start: float = 1.0) -> list[dict[str, Any]]:
    steps = [WAYS[name] if isinstance(name, str) else name for name in names]
    return [{"timestamp": start + i, "name": name, "context": context} for i, (name, context) in enumerate(steps)]


def add(store: Store, jobid: int, *names: Any, start: float = 1.0, **extra: Any) -> ListedJob:
    return store.apply({"id": jobid, "events": events(*names, start=start), "jobspec": JOBSPEC, **extra})


def ids(store: Store, constraint: dict[str, Any] | None = None, **kwargs: Any) -> list[int]:
    return [job.id for job in store.select(compile_constraint(constraint or {}), **kwargs)]


def test_a_pending_job_tells_what_its_jobspec_says() -> None:
    job = add(Store(), 7, *PENDING)
    assert job.encode(ATTRIBUTES) == {
        "id": 7,
        "userid": 100,
        "urgency": 16,
        "priority": 16,
        "t_submit": 1.0,
        "t_depend": 2.0,
        "t_priority": 3.0,
        "t_sched": 4.0,
        "state": FLUX_JOB_STATE_SCHED,
        "name": "app",
        "cwd": "/home/u",
        "queue": "batch",
        "ntasks": 6,
        "ncores": 24,
        "nnodes": 2,
        "duration": 60.0,
    }


def test_a_finished_job_tells_where_and_how_it_ended() -> None:
    job = add(Store(), 7, *WHOLE, R=R)
    shown = job.encode(ATTRIBUTES)
    assert shown["state"] == FLUX_JOB_STATE_INACTIVE
    assert (shown["ranks"], shown["nodelist"], shown["ncores"]) == ("[1-2]", "n[1-2]", 24)
    assert (shown["success"], shown["result"], shown["waitstatus"]) == (True, FLUX_JOB_RESULT_COMPLETED, 0)
    assert (shown["t_run"], shown["t_cleanup"], shown["t_inactive"], shown["expiration"]) == (5.0, 7.0, 10.0, 65.0)
    assert shown["exception_occurred"] is False
    assert "exception_type" not in shown and "dependencies" not in shown and "annotations" not in shown


@pytest.mark.parametrize(
    ("ending", "result"),
    [
        ([("finish", {"status": 256})], FLUX_JOB_RESULT_FAILED),
        ([("exception", {"type": "cancel", "severity": 0, "note": "", "userid": 1})], FLUX_JOB_RESULT_CANCELED),
        ([("exception", {"type": "timeout", "severity": 0, "userid": 1})], FLUX_JOB_RESULT_TIMEOUT),
        ([("exception", {"type": "exec", "severity": 0, "userid": 1})], FLUX_JOB_RESULT_FAILED),
        ([("exception", {"type": "test", "severity": 3, "userid": 1}), "finish"], FLUX_JOB_RESULT_COMPLETED),
    ],
)
def test_the_result_follows_from_how_it_ended(ending: list[Any], result: int) -> None:
    store = Store()
    job = add(store, 1, *PENDING, "alloc", *ending)
    assert job.state == FLUX_JOB_STATE_CLEANUP
    assert not job.encode(["exception_type", "result"]).keys() - {"id"}
    add(store, 1, "clean", start=20.0)
    assert job.result == result
    assert job.encode(["success"])["success"] is (result == FLUX_JOB_RESULT_COMPLETED)
    exceptions = [
        context for name, context in (step for step in ending if isinstance(step, tuple)) if "type" in context
    ]
    assert job.encode(["exception_occurred"])["exception_occurred"] is bool(exceptions)
    if exceptions:
        assert job.encode(["exception_type"])["exception_type"] == exceptions[0]["type"]


def test_the_severest_exception_is_shown() -> None:
    steps = [("exception", {"type": kind, "severity": severity}) for kind, severity in (("a", 3), ("b", 0), ("c", 0))]
    job = add(Store(), 1, *PENDING, *steps, "clean")
    assert job.encode(["exception_type", "exception_severity"]) == {
        "id": 1,
        "exception_type": "b",
        "exception_severity": 0,
    }


def test_dependencies_annotations_memo_and_updates() -> None:
    store = Store()
    job = add(store, 1, "submit", ("dependency-add", {"description": "after:x"}), "validate")
    assert job.encode(["dependencies"])["dependencies"] == ["after:x"]
    more = [
        ("dependency-remove", {"description": "after:x"}),
        "depend",
        "priority",
        ("annotations", {"annotations": {"sched": {"t_estimate": 1.0}}}),
        ("memo", {"uri": "local:///x", "gone": None}),
        ("jobspec-update", {"attributes.system.duration": 10.0, "attributes.system.job.name": "new"}),
    ]
    add(store, 1, *more)
    job.set_R(R)
    assert job.state == FLUX_JOB_STATE_PRIORITY
    add(store, 1, "priority", "alloc", ("resource-update", {"expiration": 99.0}))
    shown = job.encode(["dependencies", "annotations", "duration", "name", "expiration", "state"])
    assert shown == {
        "id": 1,
        "annotations": {"sched": {"t_estimate": 1.0}, "user": {"uri": "local:///x"}},
        "duration": 60.0,  # the jobspec that comes with an entry is the present one
        "name": "app",
        "expiration": 99.0,
        "state": FLUX_JOB_STATE_RUN,
    }


def test_jobs_are_listed_pending_running_inactive() -> None:
    store = Store()
    for jobid, priority in ((1, 16), (2, 31), (3, 16)):
        add(store, jobid, "submit", "validate", "depend", ("priority", {"priority": priority}), start=float(jobid))
    for jobid in (11, 12):
        add(store, jobid, *PENDING, "alloc", start=float(jobid))
    for jobid in (21, 22):
        add(store, jobid, *WHOLE, start=float(jobid))
    assert ids(store) == [2, 1, 3, 12, 11, 22, 21]
    assert ids(store, max_entries=4) == [2, 1, 3, 12]
    assert ids(store, max_entries=10**25) == ids(store)
    assert ids(store, since=30.5) == [2, 1, 3, 12, 11, 22]


def test_a_job_that_is_canceled_while_pending_passes_through_cleanup() -> None:
    store = Store()
    add(store, 1, *PENDING, ("exception", {"type": "cancel", "severity": 0}))
    assert 1 in store.running and not store.pending
    add(store, 1, "clean")
    assert 1 in store.inactive and not store.running
    assert store.stats.encode()["canceled"] == 1


def test_purged_jobs_are_forgotten_but_counted() -> None:
    store = Store()
    add(store, 1, *WHOLE)
    add(store, 2, *PENDING)
    store.purge(1)
    store.purge(2)
    store.purge(99)
    assert ids(store) == [2]
    stats = store.stats.encode()
    assert stats["inactive_purged"] == 1 and stats["job_states"]["total"] == 1 and stats["successful"] == 0


def test_statistics_by_state_and_queue() -> None:
    store = Store()
    add(store, 1, *WHOLE)
    add(store, 2, *PENDING, "alloc", ("finish", {"status": 9}), "clean")
    add(store, 3, *PENDING)
    stats = store.stats.encode()
    assert stats["job_states"] == {
        "depend": 0,
        "priority": 0,
        "sched": 1,
        "run": 0,
        "cleanup": 0,
        "inactive": 2,
        "total": 3,
    }
    assert (stats["successful"], stats["failed"]) == (1, 1)
    assert [queue["name"] for queue in stats["queues"]] == ["batch"]
    assert stats["queues"][0]["job_states"] == stats["job_states"]


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from([*WHOLE, "cancel"])), max_size=80))
def test_whatever_order_events_come_in_every_job_is_in_one_list(steps: list[tuple[int, str]]) -> None:
    store = Store()
    WAYS_AND_CANCEL = {**WAYS, "cancel": ("exception", {"type": "cancel", "severity": 0})}
    seen: set[int] = set()
    for jobid, name in steps:
        if jobid in store.inactive:
            continue
        seen.add(jobid)
        store.apply({"id": jobid, "events": events(WAYS_AND_CANCEL[name])})
    lists = [*store.pending, *store.running, *store.inactive]
    assert sorted(lists) == sorted(seen) and len(store) == len(seen)
    assert sorted(ids(store)) == sorted(jobid for jobid in seen if store.find(jobid).state != 1)  # type: ignore[union-attr]
    counted = store.stats.encode()["job_states"]["total"]
    assert counted == sum(store.find(jobid).state != 1 for jobid in seen)  # type: ignore[union-attr]


def test_pending_jobs_move_with_their_priority() -> None:
    store = Store()
    for jobid in (1, 2, 3, 4):
        add(store, jobid, *PENDING, start=float(jobid))
    store.apply({"id": 3, "events": events(("priority", {"priority": 20}))})
    store.apply({"id": 1, "events": events(("priority", {"priority": 0}))})
    assert ids(store) == [3, 2, 4, 1]
    store.apply({"id": 3, "events": events("alloc")})
    store.apply({"id": 1, "events": events(("priority", {"priority": 16}))})
    assert ids(store) == [1, 2, 4, 3]


# -- pages


def listed(response: dict[str, Any]) -> list[int]:
    return [job["id"] for job in response["jobs"]]


def test_pages_are_of_the_moment_in_which_the_list_was_asked_for() -> None:
    store, pages = Store(), Pages()
    for jobid in range(1, 6):
        add(store, jobid, *PENDING, start=float(jobid))
    first = pages.begin("client", store.snapshot(compile_constraint({})), ["state"], 2)
    add(store, 6, *WHOLE)
    store.apply({"id": 4, "events": events("alloc")})
    second = pages.resume("client", first["cursor"])
    last = pages.resume("client", second["cursor"])
    assert [listed(page) for page in (first, second, last)] == [[1, 2], [3, 4], [5]]
    assert second["jobs"][1]["state"] == FLUX_JOB_STATE_RUN
    assert "cursor" not in last and len(pages) == 0


def test_a_list_belongs_to_the_client_that_asked_for_it() -> None:
    store, pages = Store(), Pages()
    for jobid in (1, 2):
        add(store, jobid, *PENDING)
    cursors = [
        pages.begin("client", store.snapshot(compile_constraint({})), ["state"], 1)["cursor"]
        for _ in range(LISTS_PER_CLIENT + 1)
    ]
    assert len(pages) == LISTS_PER_CLIENT
    for client, cursor in (("other", cursors[-1]), ("client", cursors[0])):
        with pytest.raises(FluxError, match="no list with the cursor"):
            pages.resume(client, cursor)
    assert listed(pages.resume("client", cursors[-1])) == [2]
    pages.forget("client")
    assert len(pages) == 0


# -- constraints


@pytest.fixture
def three_jobs() -> Store:
    store = Store()
    add(store, 1, *PENDING)
    add(store, 2, ("submit", {"userid": 200, "urgency": 16, "flags": 0}), *PENDING[1:], "alloc", start=10.0, R=R)
    add(store, 3, *WHOLE, start=20.0)
    return store


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"userid": [200]}, [2]),
        ({"userid": [-1]}, [1, 2, 3]),
        ({"states": ["pending"]}, [1]),
        ({"states": ["PD", "ru"]}, [1, 2]),
        ({"states": [62]}, [1, 2]),
        ({"states": ["INACTIVE"]}, [3]),
        ({"results": ["completed"]}, [3]),
        ({"results": ["F", "ca"]}, []),
        ({"results": [3]}, [3]),
        ({"name": ["app"]}, [1, 2, 3]),
        ({"queue": ["debug"]}, []),
        ({"t_submit": [">=10"]}, [2, 3]),
        ({"t_submit": ["<10.5"]}, [1, 2]),
        ({"t_inactive": [">0"]}, [3]),
        ({"hostlist": ["n[2-5]"]}, [2]),
        ({"ranks": ["0", "1"]}, [2]),
        ({"ranks": ["7"]}, []),
        ({"and": [{"userid": [100]}, {"states": [64]}]}, [3]),
        ({"or": [{"userid": [200]}, {"states": [64]}]}, [2, 3]),
        ({"not": [{"userid": [100]}, {"states": [64]}]}, [1, 2]),
        ({"or": []}, [1, 2, 3]),
        ({"and": []}, [1, 2, 3]),
        ({"not": []}, []),
        ({"userid": [100], "states": ["sched"]}, [1]),
    ],
)
def test_constraints_match(three_jobs: Store, constraint: dict[str, Any], expected: list[int]) -> None:
    assert ids(three_jobs, constraint) == expected


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        ({"colour": ["red"]}, "unknown constraint operator: colour"),
        ({"states": ["asleep"]}, "invalid states value 'asleep' specified"),
        ({"results": ["X"]}, "invalid results value 'X' specified"),
        ({"states": 3}, "not an array"),
        ({"userid": ["me"]}, "not an integer"),
        ({"name": [1]}, "not a string"),
        ({"t_submit": ["10"]}, "needs one of"),
        ({"t_submit": [">soon"]}, "no time"),
        ({"t_submit": []}, "one string"),
        ({"ranks": ["0-2000"]}, "at most 1024"),
        ({"hostlist": ["n[0"]}, "n\\[0"),
        ({"and": [1]}, "expected an object"),
    ],
)
def test_wrong_constraints_say_what_is_wrong(constraint: dict[str, Any], text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        compile_constraint(constraint)


def test_a_deep_constraint_is_refused() -> None:
    constraint: dict[str, Any] = {}
    for _ in range(100):
        constraint = {"not": [constraint]}
    with pytest.raises(ProtocolError, match="deep"):
        compile_constraint(constraint)


def test_attributes_are_checked() -> None:
    assert expand(["id", "state"]) == ["id", "state"]
    assert expand(["all"]) == ATTRIBUTES
    with pytest.raises(FluxError, match="colour is not a valid attribute"):
        expand(["colour"])
