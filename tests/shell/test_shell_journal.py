"""When a shell commits its events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flux
from flux import kvs
from flux.testing import Instance
from flux_shell.journal import Journal, check_event, check_extra

NAMESPACE = "job-1"


@pytest.fixture
def handle() -> Iterator[flux.Flux]:
    with Instance() as instance:
        handle = instance.handle()
        kvs.namespace_create(handle, NAMESPACE)
        yield handle


def commits(handle: flux.Flux) -> int:
    return int(kvs.getroot_async(handle, NAMESPACE).get()["rootseq"])


def turn(handle: flux.Flux, journal: Journal) -> None:
    """What a shell does until all is committed."""
    while True:
        journal.flush()
        if journal.idle:
            return
        handle.get_reactor().run_once()


def test_the_first_events_wait_for_more_and_later_ones_do_not(handle: flux.Flux) -> None:
    journal = Journal(handle, NAMESPACE, hold=1000.0)
    journal.append("output", "header", {})
    journal.flush()
    journal.append("output", "data", {"stream": "stdout"})
    journal.flush()
    assert (journal.idle, commits(handle)) == (False, 0)
    journal.release()
    turn(handle, journal)
    assert commits(handle) == 1
    journal.append("output", "data", {"stream": "stderr"})
    turn(handle, journal)
    assert commits(handle) == 2


def test_what_has_begun_is_waited_for_less(handle: flux.Flux) -> None:
    journal = Journal(handle, NAMESPACE, hold=1000.0)
    journal.append("output", "header", {})
    journal.release_after(0.001)
    turn(handle, journal)
    assert commits(handle) == 1
    journal.release_after(1000.0)  # what was released is held no more
    journal.append("output", "data", {})
    turn(handle, journal)
    assert commits(handle) == 2


def test_the_first_events_do_not_wait_for_ever(handle: flux.Flux) -> None:
    journal = Journal(handle, NAMESPACE, hold=0.001)
    journal.append("output", "header", {})
    turn(handle, journal)
    assert commits(handle) == 1


@pytest.mark.parametrize(
    ("name", "context", "text"),
    [
        (None, {}, "name of an event"),
        ("", {}, "name of an event"),
        ("two words", {}, "name of an event"),
        ("foo\n", {}, "name of an event"),
        ("foo", 5, "context of event foo is an object, not 5"),
        ("foo", None, "is an object"),
        ("foo", {"a": object()}, "context of event foo is not what JSON can hold"),
        ("foo", {"a": "\ud800"}, "JSON"),
    ],
)
def test_what_is_no_event_is_refused(name: object, context: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_event(name, context)
    check_event("foo", {"a": [1, {"b": None}]})


def test_plugins_do_not_say_what_the_shell_itself_says() -> None:
    check_extra("shell.init", {"pty": "terminus.0"})
    for name, key in (("shell.init", "size"), ("shell.init", "service"), ("shell.start", "taskmap")):
        with pytest.raises(ValueError, match=f"{key} of the event {name}"):
            check_extra(name, {key: 5})
    with pytest.raises(ValueError, match="JSON"):
        check_extra("shell.init", {"a": object()})
