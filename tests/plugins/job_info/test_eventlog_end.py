"""When a watch of an eventlog ends: too early loses output, too late hangs `flux job attach`."""

from __future__ import annotations

from flux_plugins.job_info.current import apply_updates, userid_of
from flux_plugins.job_info.terminator import terminator


def test_the_main_eventlog_ends_with_clean_and_not_with_a_memo_of_that_word() -> None:
    is_last = terminator("eventlog")
    assert not is_last(b'{"timestamp":1.0,"name":"memo","context":{"x":"clean"}}')
    assert is_last(b'{"timestamp":1.0,"name":"clean"}')
    assert is_last(b'{"timestamp": 1.0, "name": "clean"}')


def test_the_exec_eventlog_ends_with_done() -> None:
    assert terminator("guest.exec.eventlog")(b'{"timestamp":1.0,"name":"done"}')


def test_input_ends_with_eof() -> None:
    is_last = terminator("guest.input")
    assert not is_last(b'{"timestamp":1.0,"name":"data","context":{"stream":"stdin","rank":"all","data":"x"}}')
    assert is_last(b'{"timestamp":1.0,"name":"data","context":{"stream":"stdin","rank":"all","eof":true}}')


def test_updates_are_applied_in_order_and_leave_the_original_alone() -> None:
    R = {"version": 1, "execution": {"expiration": 1.0, "nodelist": ["a"]}}
    events = [{"name": "resource-update", "context": {"expiration": n}} for n in (5, 7)]
    assert apply_updates("R", R, events) == {"version": 1, "execution": {"expiration": 7, "nodelist": ["a"]}}
    assert R["execution"] == {"expiration": 1.0, "nodelist": ["a"]}


def test_the_owner_is_who_submitted() -> None:
    line = b'{"timestamp":1.0,"name":"submit","context":{"userid":42,"urgency":16,"flags":0}}\n'
    assert userid_of(line + b'{"timestamp":2.0,"name":"validate"}\n') == 42
