"""flux.eventlog: RFC 18 lines in any chunks, refusals, and what people are shown."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.eventlog import Event, EventlogDecoder, EventLogEvent, EventLogFormatter, decode, encode

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    Event,
    timestamp=st.floats(1e-6, 1e11),
    name=st.text(min_size=1, max_size=8),
    context=st.dictionaries(st.text(max_size=6), json, max_size=4),
)

SUBMIT = '{"timestamp":1552593348.073045,"name":"submit","context":{"urgency":16,"note":"a b","o":{"x":[1,null]}}}\n'
START = '{"timestamp":1552593349.5,"name":"start"}\n'


@given(st.lists(events, max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_any_chunking_gives_the_same_events(log: list[Event], cuts: list[int]) -> None:
    data = encode(log).encode()
    bounds = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    decoder, got = EventlogDecoder(), list[Event]()
    for a, b in pairwise(bounds):
        got += decoder.feed(data[a:b])
    decoder.finish()
    assert got == log == decode(data.decode()) == decode(data)


def test_rfc_18_lines_are_kept_as_they_are() -> None:
    log = decode(SUBMIT + START)
    assert [e.name for e in log] == ["submit", "start"] and log[1].context == {}
    assert encode(log) == SUBMIT + START
    assert decode('{"timestamp":12,"name":"x","later":1}\n') == [Event(12.0, "x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{}", "missing required field `timestamp`"),
        ('{"timestamp":0,"name":"x"}', "> 0"),
        ('{"timestamp":"1","name":"x"}', "Expected `float`, got `str`"),
        ('{"timestamp":1,"name":2}', "Expected `str`, got `int`"),
        ('{"timestamp":1,"name":"x","context":[]}', "Expected `object`, got `array`"),
        ('{"timestamp":1e18,"name":"x"}', "< 253402300800"),
        ("", "truncated"),
        ("x" * 100, "..."),
    ],
)
def test_a_line_that_is_no_event_is_named(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^eventlog line 2 is no event: ") as e:
        decode(START + line + "\n")
    assert reason in str(e.value)


@given(st.binary(max_size=30))
def test_any_bytes_are_refused_or_decoded(data: bytes) -> None:
    try:
        decode(data)
    except ValueError as e:
        assert str(e).startswith("eventlog line ")


def test_a_cut_eventlog_is_noticed() -> None:
    with pytest.raises(ValueError, match="line 2 is not terminated"):
        decode(START + '{"timestamp"')


@pytest.mark.parametrize(
    ("timestamp_format", "first", "second"),
    [
        ("raw", "1552593348.073045", "1552593349.500000"),
        ("iso", "2019-03-14T19:55:48.073045Z", "2019-03-14T19:55:49.500000Z"),
        ("offset", "       0.000000", "       1.426955"),
    ],
)
def test_text(timestamp_format: str, first: str, second: str) -> None:
    formatter = EventLogFormatter(timestamp_format=timestamp_format)  # type: ignore[arg-type]
    log = decode(SUBMIT + START)
    assert formatter.format(log[0]) == f'{first} submit urgency=16 note="a b" o={{"x":[1,null]}}'
    assert formatter.format(log[1]) == f"{second} start"


def test_human_shows_the_date_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    formatter = EventLogFormatter(timestamp_format="human")
    log = [*decode(SUBMIT + START), Event(1552593409.0, "free")]
    assert [formatter.format(e)[:13] for e in log] == ["[Mar14 19:55]", "[  +1.426955]", "[Mar14 19:56]"]
    monkeypatch.undo()
    time.tzset()


def test_json_and_colour() -> None:
    log = decode(SUBMIT + START)
    assert EventLogFormatter("json").format(log[0]) + "\n" == SUBMIT
    painted = EventLogFormatter(color=True).format(log[0])
    assert "\033[33msubmit\033[0m" in painted and "\033[37m16\033[0m" in painted
    with pytest.raises(ValueError, match="expected text or json, got 'xml'"):
        EventLogFormatter("xml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected raw, iso, offset or human, got 'x'"):
        EventLogFormatter(timestamp_format="x")  # type: ignore[arg-type]


def test_events_of_other_kinds_are_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"timestamp": 1.5, "name": "start", "context": {"a": 1}}
    event = EventLogEvent(entry)
    assert (dict(event), list(event.items()), len(event)) == (entry, list(entry.items()), 3)
    formatter = EventLogFormatter(timestamp_format="offset", color="auto")
    assert formatter.format(entry) == formatter.format(event) == "       0.000000 start a=1"
    with pytest.raises(ValueError, match="color"):
        EventLogFormatter(color="sometimes")
