"""When a shell commits its events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flux
from flux import kvs
from flux.testing import Instance
from flux_shell.journal import Journal

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
