"""Jobs as programs and people see them: JobInfo, formats, queries (flux-jobs(1), RFC 43)."""

from __future__ import annotations

import os
from typing import Any

import pytest

from flux.job.event import EventLogEvent
from flux.job.info import JobInfo, statustostr
from flux.job.info_format import JobInfoFormat
from flux.job.list import JobList, constraint
from flux.job.output import OutputReader

DONE: dict[str, Any] = {
    "id": 1024,
    "userid": os.getuid(),
    "state": 64,
    "result": 1,
    "waitstatus": 0,
    "name": "a-name-too-long",
    "t_run": 10.0,
    "t_cleanup": 75.5,
    "nodelist": "n[0-1]",
    "nnodes": 2,
    "exception_occurred": False,
}


def _job(**changes: Any) -> JobInfo:
    return JobInfo({**DONE, **changes})


def test_fields_of_a_finished_job() -> None:
    job = _job()
    assert (job.status, job.status_abbrev, job.state_single, job.result) == ("COMPLETED", "CD", "I", "COMPLETED")
    assert (job.runtime, job.returncode, job.t_remaining) == (65.5, 0, 0.0)
    assert job.id.f58plain == "fJf"


@pytest.mark.parametrize(
    ("changes", "returncode"),
    [
        ({"waitstatus": 143 << 8, "result": 2}, 143),
        ({"waitstatus": 9, "result": 2}, -9),
        ({"waitstatus": "", "t_run": 0.0, "exception_occurred": True, "result": 4}, -128),
        ({"state": 16, "waitstatus": ""}, ""),
    ],
)
def test_returncode(changes: dict[str, Any], returncode: object) -> None:
    assert _job(**changes).returncode == returncode


@pytest.mark.parametrize(
    ("state", "status"), [(2, "DEPEND"), (4, "PRIORITY"), (8, "SCHED"), (16, "RUN"), (32, "CLEANUP")]
)
def test_status_of_active_states(state: int, status: str) -> None:
    assert statustostr(state, "") == status


def test_running_job_counts_time_and_what_remains() -> None:
    import time

    now = time.time()
    job = _job(state=16, result="", t_run=now - 5, t_cleanup=0.0, expiration=now + 100)
    assert 5 <= job.runtime < 10
    assert 90 < job.t_remaining <= 100


def test_annotations_that_are_not_there_are_empty() -> None:
    job = _job(annotations={"sched": {"reason_pending": "no cores"}, "user": {"uri": "ssh://x"}})
    assert str(job.sched.reason_pending) == "no cores"
    assert f"{job.annotations.sched.t_estimate}" == ""
    assert str(job.user.uri) == "ssh://x"
    with pytest.raises(AttributeError, match="'ntask'"):
        _ = job.ntask


def test_a_job_that_is_no_instance_has_no_uri() -> None:
    plain, instance = _job(annotations={}), _job(annotations={"user": {"uri": "ssh://host/path"}})
    assert (plain.uri, str(instance.uri)) == (None, "ssh://host/path")
    formatter = JobInfoFormat("{uri} [{uri.local}]")
    assert formatter.format(plain) == "None []"
    assert formatter.format(instance) == "ssh://host/path [local:///path]"


def test_to_dict_holds_what_is_known() -> None:
    record = _job(annotations={"user": {"a": 1}}, dependencies=["after-start=f1"]).to_dict()
    assert record["id"] == 1024
    assert record["annotations"] == {"user": {"a": 1}}
    assert record["dependencies"] == ["after-start=f1"]
    assert "queue" not in record
    assert _job().to_dict(filtered=False)["queue"] == ""


@pytest.mark.parametrize(
    ("fmt", "line"),
    [
        ("{id.f58plain:>6}|{status_abbrev:<4}|", "   fJf|CD  |"),
        ("{name:<8.8}|{name:<8.8+}|", "a-name-t|a-name-+|"),
        ("{runtime!F}|{runtime!H}|{runtime:0.1f}", "1.092m|0:01:06|65.5"),
        ("{t_inactive!D:h}|{queue:>4h}|{nnodes:>3h}", "-|   -|  2"),
        ("{t_run!d:%S}", "10"),
        ("{annotations.sched.reason_pending:>2h}", " -"),
        ("{{{nnodes}}}", "{2}"),
        ("{exception.occurred}", "False"),
    ],
)
def test_formats(fmt: str, line: str) -> None:
    assert JobInfoFormat(fmt).format(_job()) == line


def test_header_has_the_widths_of_the_fields() -> None:
    fmt = JobInfoFormat("{id.f58:>9} {runtime!F:>8h} {t_run!d:%H:%M} {nodelist:h}")
    assert fmt.header() == "    JOBID  RUNTIME T_RUN NODELIST"


def test_format_asks_only_for_what_it_shows() -> None:
    assert JobInfoFormat("{id} {runtime!F} {exception.note}").attributes() == ["exception_note", "t_cleanup", "t_run"]


def test_unknown_field_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match="Unknown format field: nnode, did you mean 'nnodes'"):
        JobInfoFormat("{nnode}")
    with pytest.raises(ValueError, match="format"):
        JobInfoFormat("{id")


def test_constraint_of_a_query() -> None:
    assert constraint() == {"and": []}
    assert constraint(7, 48, 3, "n", "debug") == {
        "and": [{"userid": [7]}, {"name": ["n"]}, {"queue": ["debug"]}, {"or": [{"states": [48]}, {"results": [3]}]}]
    }


def test_filters_and_users_are_checked() -> None:
    query = JobList(None, filters=["pending", "FAILED"], user="root")  # type: ignore[arg-type]
    assert (query.states, query.results, query.userid) == (14, 2, 0)
    with pytest.raises(ValueError, match="no job state or result 'done'"):
        query.add_filter("done")
    with pytest.raises(ValueError, match="there is no user 'nobody-here'"):
        query.set_user("nobody-here")


def test_output_events_become_chunks_of_streams() -> None:
    seen: list[Any] = []
    reader = OutputReader(lambda *chunk: seen.append(chunk), lambda *r: seen.append(r), lambda log: seen.append(log))
    for name, context in (
        ("log", {"level": 3, "message": "early"}),
        ("header", {"version": 1, "count": {"stdout": 2, "stderr": 2}}),
        ("data", {"stream": "stdout", "rank": "0", "data": "hi\n"}),
        ("data", {"stream": "stdout", "rank": "1", "data": "AP8=", "encoding": "base64", "eof": True}),
        ("data", {"stream": "stdout", "rank": "0", "eof": True}),
        ("redirect", {"stream": "stderr", "rank": "[0-1]", "path": "f"}),
    ):
        reader.on_event(EventLogEvent({"timestamp": 1.0, "name": name, "context": context}))
    assert seen[0].context == {"level": 3, "message": "early"}
    assert seen[1:] == [("stdout", "0", b"hi\n"), ("stdout", "1", b"\0\xff"), ("stderr", "[0-1]", "f")]
    assert reader.events == 6
