"""The cron table: when commands run, how often, and when an entry gives up."""

from __future__ import annotations

import datetime
import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.errors import FluxError
from flux_plugins.cron.dates import DateFields
from flux_plugins.cron.protocol import CreateRequest
from flux_plugins.cron.table import CronTable, Note, Run
from flux_plugins.cron.triggers import make_trigger

T0 = 1_700_000_000.0


def stamp(*date: int) -> float:
    return datetime.datetime(*date).timestamp()  # type: ignore[arg-type]


def entry_of(table: CronTable, type: str = "interval", args: dict[str, Any] | None = None, **more: Any) -> Any:
    return table.create(CreateRequest(type, "x", "true", args or {"interval": 10.0}, **more), T0)


def runs(actions: list[Any]) -> list[Run]:
    return [action for action in actions if isinstance(action, Run)]


def tick(table: CronTable, now: float, status: int | None = 0) -> int:
    """Let time pass; what is to run ends at once with the status, or stays, if that is None."""
    found = runs(table.on_time(now))
    for run in found if status is not None else ():
        table.on_exit(run.entry, run.task, status, now)
    return len(found)


@pytest.mark.parametrize(
    ("fields", "after", "expected"),
    [
        ({"second": 0, "minute": "*/5"}, (2026, 11, 21, 10, 36, 1), (2026, 11, 21, 10, 40)),
        ({"second": 0, "minute": 0, "hour": 8, "weekday": "Mon"}, (2026, 11, 21), (2026, 11, 23, 8)),
        ({"second": 0, "minute": 0, "hour": 0, "mday": 1, "month": 0}, (2026, 1, 1), (2027, 1, 1)),
        ({"second": 5, "minute": "10-20/5", "hour": "1,3"}, (2026, 5, 5, 1, 20, 5), (2026, 5, 5, 3, 10, 5)),
        ({"mday": 29, "month": "feb", "second": 0, "minute": 0, "hour": 0}, (2026, 1, 1), (2028, 2, 29)),
        ({"second": 0, "minute": 59, "hour": 23, "month": 11, "year": 130}, (2026, 1, 1), (2030, 12, 1, 23, 59)),
    ],
)
def test_next_date(fields: dict[str, Any], after: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert DateFields(fields).next_after(stamp(*after)) == stamp(*expected)


def test_a_date_that_never_comes() -> None:
    assert DateFields({"mday": 31, "month": 1}).next_after(T0) is None
    assert DateFields({"year": 100}).next_after(T0) is None


@pytest.mark.parametrize(
    "fields",
    [{"minute": "foo"}, {"minute": 60}, {"month": 12}, {"hour": "5-2"}, {"hour": "*/0"}, {"era": 1}],
)
def test_wrong_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(FluxError) as caught:
        DateFields(fields)
    assert caught.value.errno == errno.EINVAL


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 6), st.floats(1e9, 2e9))
def test_next_date_matches_its_fields(minute: int, hour: int, weekday: int, now: float) -> None:
    fields = DateFields({"second": 0, "minute": minute, "hour": hour, "weekday": weekday})
    found = fields.next_after(now)
    assert found is not None and now < found <= now + 8 * 86400
    date = datetime.datetime.fromtimestamp(found)
    assert (date.minute, date.hour, date.isoweekday() % 7, date.second) == (minute, hour, weekday, 0)


def test_interval_keeps_its_beat_and_makes_up_for_nothing() -> None:
    table = CronTable()
    entry = entry_of(table, args={"interval": 10.0, "after": 3.0})
    assert table.next_time() == T0 + 3
    assert tick(table, T0 + 2.9) == 0
    assert tick(table, T0 + 3) == 1
    assert tick(table, T0 + 45) == 1
    assert entry.next == T0 + 53
    assert entry.stats.total == entry.stats.success == 2


def test_a_task_that_still_runs_is_not_run_twice() -> None:
    table = CronTable()
    entry = entry_of(table)
    assert tick(table, T0 + 10, status=None) == 1
    actions = table.on_time(T0 + 20)
    assert [type(action) for action in actions] == [Note]
    assert entry.stats.total == 1


def test_repeat_stops_and_start_begins_anew() -> None:
    table = CronTable()
    entry = entry_of(table, repeat=2)
    assert [tick(table, T0 + 10 * n) for n in (1, 2, 3)] == [1, 1, 0]
    assert entry.is_stopped and table.next_time() is None
    table.start(entry.id, T0 + 100)
    assert tick(table, T0 + 110) == 1
    assert (entry.stats.count, entry.stats.total) == (1, 3)


def test_what_is_so_already_is_refused() -> None:
    table = CronTable()
    entry = entry_of(table)
    with pytest.raises(FluxError, match="cron entry 1 is not stopped"):
        table.start(entry.id, T0)
    table.stop(entry.id)
    with pytest.raises(FluxError, match="cron entry 1 is stopped already"):
        table.stop(entry.id)
    with pytest.raises(FluxError, match="x: there is no such time to come"):
        entry_of(table, "datetime", {"mday": "31", "month": "1"})
    assert list(table.entries) == [1]


def test_stop_on_failure_and_history() -> None:
    table = CronTable()
    entry = entry_of(table, stop_on_failure=3, task_history_count=2)
    assert [tick(table, T0 + 10 * n, status=256) for n in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert entry.is_stopped
    tasks = entry.as_dict()["tasks"]
    assert [(task["state"], task["code"]) for task in tasks] == [("Failed", 1)] * 2
    assert tasks[0]["end-time"] > tasks[1]["end-time"]


def test_every_nth_event_after_some() -> None:
    table = CronTable()
    entry = entry_of(table, "event", {"topic": "a", "nth": 3, "after": 2})
    ran = []
    for number in range(1, 10):
        for run in runs(table.on_event("a", T0 + number)):
            ran.append(number)
            table.on_exit(run.entry, run.task, 0, T0 + number)
        assert table.on_event("b", T0 + number) == []
    assert ran == [2, 5, 8]
    assert entry.as_dict()["typedata"]["counter"] == 9


def test_min_interval_delays() -> None:
    table = CronTable()
    entry_of(table, "event", {"topic": "a", "min_interval": 5.0})
    (run,) = runs(table.on_event("a", T0))
    table.on_exit(run.entry, run.task, 0, T0)
    assert runs(table.on_event("a", T0 + 1)) == []
    assert table.next_time() == T0 + 5
    assert tick(table, T0 + 5) == 1
    assert table.next_time() is None


def test_tasks_wait_for_the_sync_event() -> None:
    table = CronTable("beat", 1.0)
    entry = entry_of(table)
    assert tick(table, T0 + 10) == 0
    assert entry.tasks[0].state == "Deferred"
    (run,) = runs(table.on_event("beat", T0 + 19.5))
    table.on_exit(run.entry, run.task, 0, T0 + 19.5)
    assert tick(table, T0 + 20) == 1
    assert (entry.stats.deferred, entry.stats.total) == (1, 2)
    assert tick(table, T0 + 30) == 0
    assert len(runs(table.set_sync("", None, T0 + 31))) == 1


def test_a_task_that_timed_out_says_so() -> None:
    table = CronTable()
    entry = entry_of(table, timeout=1.0)
    (run,) = runs(table.on_time(T0 + 10))
    table.on_started(run.task, 42, T0 + 10)
    run.task.time_out()
    (note,) = table.on_exit(entry, run.task, 15, T0 + 11)
    assert isinstance(note, Note) and "took too long" in note.text
    assert (
        entry.as_dict()["tasks"][0] | {"state": "Timeout", "code": 143, "timedout": True, "pid": 42}
        == (entry.as_dict()["tasks"][0])
    )


@pytest.mark.parametrize(
    ("type", "args", "errnum"),
    [
        ("hourly", {}, errno.ENOSYS),
        ("interval", {}, errno.EPROTO),
        ("interval", {"interval": -1}, errno.EINVAL),
        ("interval", {"interval": 0}, errno.EINVAL),
        ("event", {"nth": 1}, errno.EPROTO),
        ("event", {"topic": "a", "nth": -1}, errno.EINVAL),
    ],
)
def test_wrong_triggers_are_refused(type: str, args: dict[str, Any], errnum: int) -> None:
    with pytest.raises(FluxError) as caught:
        make_trigger(type, args)
    assert caught.value.errno == errnum


def test_unknown_entries_and_refused_ones() -> None:
    table = CronTable()
    with pytest.raises(FluxError) as caught:
        entry_of(table, "event", {})
    assert table.entries == {}
    for call in (table.stop, table.delete, table.find):
        with pytest.raises(FluxError) as caught:
            call(1)
        assert caught.value.errno == errno.ENOENT
