"""Queues: what is submitted where, and what may run (flux-queue(1))."""

from __future__ import annotations

import pytest

from flux.errors import FluxError
from flux_plugins.job_manager.machine import Job
from flux_plugins.job_manager.payloads import QueueEnable, QueueStart
from flux_plugins.job_manager.queues import Queues

CONF = {"queues": {"batch": {}, "debug": {}}}


def jobspec(queue: str | None = None) -> dict:
    return {"attributes": {"system": {"queue": queue} if queue else {}}}


@pytest.fixture
def calls() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def queues(calls: list[tuple[str, str]]) -> Queues:
    return Queues(lambda name: calls.append(("start", name)), lambda name: calls.append(("stop", name)))


def test_without_configuration_there_is_one_queue_without_a_name(queues: Queues) -> None:
    assert queues.names == []
    queues.admit(jobspec())
    with pytest.raises(FluxError, match="'batch' is not a valid queue"):
        queues.admit(jobspec("batch"))


def test_with_named_queues_a_job_has_to_name_one(queues: Queues) -> None:
    queues.configure(CONF)
    assert queues.names == ["batch", "debug"]
    queues.admit(jobspec("batch"))
    with pytest.raises(FluxError, match="a named queue is required"):
        queues.admit(jobspec())
    assert queues.name_of(Job(1, jobspec("debug"))) == "debug"


def test_commands_for_all_queues_have_to_say_so(queues: Queues, calls: list[tuple[str, str]]) -> None:
    queues.configure(CONF)
    with pytest.raises(FluxError, match="Use --all"):
        queues.start(QueueStart(start=True, all=False))
    queues.start(QueueStart(start=True, all=True))
    queues.start(QueueStart(start=False, all=False, name="debug", reason="why"))
    assert calls == [("start", "batch"), ("start", "debug"), ("stop", "debug")]
    assert queues.is_started("batch") and not queues.is_started("debug")
    assert queues.get("debug").status() == {"enable": True, "start": False, "stop_reason": "why"}


def test_disabling_needs_a_reason(queues: Queues) -> None:
    with pytest.raises(FluxError, match="reason"):
        queues.enable(QueueEnable(enable=False, all=False))


def test_state_is_kept_over_a_restart_and_a_change_of_configuration(queues: Queues) -> None:
    queues.configure(CONF)
    queues.enable(QueueEnable(enable=False, all=False, name="batch", reason="full"))
    saved = queues.save()
    again = Queues(lambda name: None, lambda name: None)
    again.configure({"queues": {"batch": {}, "new": {}}})
    again.restore(saved)
    assert again.get("batch").status() == {"enable": False, "start": False, "disable_reason": "full"}
    assert again.names == ["batch", "new"]
