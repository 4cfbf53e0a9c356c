"""Queues: what is submitted where, and what may run (flux-queue(1))."""

from __future__ import annotations

import pytest

from flux.errors import FluxError
from flux_plugins.job_manager.job import Job
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
    with pytest.raises(FluxError, match="reason is required for disable"):
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


VIRTUAL = {"queues": {"batch": {"requires": ["big"]}, "express": {"parent": "batch"}}}


def test_jobs_of_a_virtual_queue_need_its_parent_started_too(queues: Queues, calls: list[tuple[str, str]]) -> None:
    queues.configure(VIRTUAL)
    queues.start(QueueStart(start=True, all=False, name="express"))
    assert not queues.is_started("express") and calls == []
    assert queues.get("express").status() == {
        "enable": True,
        "start": False,
        "parent": "batch",
        "blocked": "parent",
        "stop_reason": "parent queue 'batch' is stopped",
    }
    queues.start(QueueStart(start=True, all=False, name="batch"))
    queues.start(QueueStart(start=False, all=False, name="batch"))
    assert calls == [("start", "batch"), ("start", "express"), ("stop", "batch"), ("stop", "express")]
    assert queues.get("express").requires == ["big"]


def test_no_queue_is_started_without_a_scheduler(queues: Queues) -> None:
    status = queues.get(None).status(scheduling=False)
    assert (status["start"], status["blocked"], status["stop_reason"]) == (False, "scheduler", "Scheduler is offline")


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"a": {"parent": "a"}}, "parent queue is itself"),
        ({"a": {"parent": "b"}}, "parent queue 'b' is not configured"),
        ({"a": {"parent": "b"}, "b": {"parent": "c"}, "c": {}}, "parent queue 'b' is itself a virtual queue"),
        ({"a": {"parent": "b", "requires": ["x"]}, "b": {}}, "a virtual queue cannot set 'requires'"),
        ({"a": {"parent": 1}}, "'parent' must be a string"),
        ({"a": {"requires": "x"}}, "queues.a.requires must be an array"),
        ({"a": 1}, "queue a: configuration must be a table"),
    ],
)
def test_wrong_queues_are_refused_and_change_nothing(queues: Queues, tables: dict, why: str) -> None:
    queues.configure(CONF)
    with pytest.raises(FluxError, match=why):
        queues.configure({"queues": tables})
    assert queues.names == ["batch", "debug"]


def test_what_is_not_to_be_kept_is_undone_by_a_restart(queues: Queues) -> None:
    queues.enable(QueueEnable(enable=False, all=False, reason="for now", nocheckpoint=True))
    queues.start(QueueStart(start=False, all=False, reason="for now", nocheckpoint=True))
    assert queues.save() == [{"enable": True, "start": True}]
    queues.start(QueueStart(start=False, all=False, reason="for good"))
    assert queues.save() == [{"enable": True, "start": False, "stop_reason": "for good"}]


def test_a_restart_stops_queues_when_so_configured(queues: Queues) -> None:
    queues.configure({**CONF, "job-manager": {"stop-queues-on-restart": True}})
    queues.restore([{"name": "batch", "start": True}, {"name": "debug", "start": False, "stop_reason": "why"}])
    assert queues.get("batch").status()["stop_reason"] == "Automatically stopped due to restart"
    assert queues.get("debug").status()["stop_reason"] == "why"
