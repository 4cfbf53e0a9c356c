"""A submission as it goes on the wire, and what eventlogs say became of a job (RFC 14, RFC 21)."""

from __future__ import annotations

import errno
from base64 import b64decode

import pytest

import flux.job
from flux.errors import FluxError
from flux.job.event import EventLogEvent, EventStream, JobException
from flux.job.outcome import JobResult
from flux.job.submit import encode_jobspec, wrap_unsigned
from flux.job.wait import JobResultFuture


def test_unsigned_envelope_is_what_stock_ingest_unwraps() -> None:
    header, payload, signature = wrap_unsigned(b'{"version":1}', 0).split(".")
    assert header == "dmVyc2lvbgBpMQB1c2VyaWQAaTAAbWVjaGFuaXNtAHNub25lAA=="
    assert b64decode(payload) == b'{"version":1}'
    assert signature == "none"


def test_envelope_names_the_user() -> None:
    header = b64decode(wrap_unsigned(b"{}", 4242).split(".")[0])
    assert header.split(b"\0") == [b"version", b"i1", b"userid", b"i4242", b"mechanism", b"snone", b""]


def test_jobspec_in_any_form_gives_the_same_json() -> None:
    jobspec = flux.job.JobspecV1.from_command(["true"], environment={})
    text = encode_jobspec(jobspec)
    assert encode_jobspec(jobspec.jobspec) == text == encode_jobspec(text) == encode_jobspec(text.decode())


def test_what_is_no_jobspec_is_refused() -> None:
    with pytest.raises(FluxError, match="not int") as refused:
        encode_jobspec(7)  # type: ignore[arg-type]
    assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("name", ["submit", "kill", "wait"])
def test_functions_win_over_the_modules_of_their_name(name: str) -> None:
    __import__(f"flux.job.{name}")
    assert callable(getattr(flux.job, name))


def test_every_name_of_the_package_resolves() -> None:
    for name in flux.job._NAMES:
        assert getattr(flux.job, name) is not None, name


def test_event_from_line_and_object() -> None:
    event = EventLogEvent('{"timestamp":1.5,"name":"alloc"}\n')
    assert (event.timestamp, event.name, event.context, event.context_string) == (1.5, "alloc", {}, "")
    same = EventLogEvent({"timestamp": 2.0, "name": "finish", "context": {"status": 0}})
    assert str(same) == '2.000000 finish {"status":0}'


def test_job_exception_tells_type_severity_and_note() -> None:
    context = {"type": "exec", "severity": 0, "note": "no shell", "userid": 0}
    exception = JobException(EventLogEvent({"timestamp": 3.0, "name": "exception", "context": context}))
    assert (exception.type, exception.severity, exception.note, exception.timestamp) == ("exec", 0, "no shell", 3.0)
    assert "no shell" in str(exception)


def _result(*events: tuple[str, dict[str, object]]) -> JobResult:
    result = JobResult(42)
    for time, (name, context) in enumerate(events, 1):
        result.on_event(EventLogEvent({"timestamp": float(time), "name": name, "context": context}))
    return result


SUBMIT = ("submit", {"userid": 5, "urgency": 16, "flags": 0, "version": 1})
RAN: tuple[tuple[str, dict[str, object]], ...] = (SUBMIT, ("alloc", {}), ("start", {}))


def test_successful_job() -> None:
    info = _result(*RAN, ("finish", {"status": 0}), ("clean", {})).as_dict()
    assert (info["result"], info["success"], info["waitstatus"], info["userid"]) == (1, True, 0, 5)
    assert (info["t_submit"], info["t_run"], info["t_cleanup"], info["t_inactive"]) == (1.0, 2.0, 4.0, 5.0)


def test_failed_job_keeps_its_wait_status() -> None:
    result = _result(*RAN, ("finish", {"status": 3 << 8}), ("clean", {}))
    assert (result.result, result.as_dict()["waitstatus"], result.fatal) == (2, 768, False)


@pytest.mark.parametrize(("type", "expected"), [("cancel", 4), ("timeout", 8), ("alloc", 2)])
def test_result_after_a_fatal_exception(type: str, expected: int) -> None:
    result = _result(SUBMIT, ("exception", {"type": type, "severity": 0, "note": "n", "userid": 0}), ("clean", {}))
    assert (result.result, result.fatal, result.started, result.waitstatus) == (expected, True, False, None)
    assert result.as_dict()["exception_type"] == type


def test_mild_exception_does_not_fail_a_job() -> None:
    mild = ("exception", {"type": "note", "severity": 3, "note": "", "userid": 0})
    result = _result(*RAN, mild, ("finish", {"status": 0}), ("clean", {}))
    assert (result.result, result.fatal) == (1, False)
    assert result.as_dict()["exception_severity"] == 3


class _Sent:
    """A handle on which nothing is answered."""

    def send_rpc(self, *_request: object) -> None:
        pass


@pytest.mark.parametrize(("errnum", "ends_with"), [(errno.ECONNRESET, errno.ECONNRESET), (errno.ENODATA, None)])
def test_event_stream_ends_with_its_connection(errnum: int, ends_with: int | None) -> None:
    """Who follows a job must not wait for ever when the broker is gone."""
    ends: list[FluxError | None] = []
    stream = EventStream(_Sent(), 1, "eventlog", lambda _event: None, ends.append)  # type: ignore[arg-type]
    stream.fulfill(FluxError(errnum))
    assert [end and end.errno for end in ends] == [ends_with]


def test_result_of_a_job_whose_broker_is_gone() -> None:
    future = JobResultFuture(_Sent(), 1)  # type: ignore[arg-type]
    future.fulfill(FluxError(errno.ECONNRESET))
    with pytest.raises(FluxError) as lost:
        future.get_info()
    assert lost.value.errno == errno.ECONNRESET
