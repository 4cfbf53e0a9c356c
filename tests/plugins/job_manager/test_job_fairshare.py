"""Fair share: what a user would lose is their turn, to one who has had more of the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flux.testing import Instance, wait_for
from flux_plugins.jobtap.priority_fairshare import Usage, fair_factors


def test_half_of_what_was_used_is_forgotten_after_each_half_life() -> None:
    usage = Usage(half_life=10.0)
    usage.add(1, 100.0, now=50.0)
    usage.add(2, 60.0, now=60.0)
    assert usage.at(60.0) == {1: 50.0, 2: 60.0}
    assert usage.at(80.0) == {1: 12.5, 2: 15.0}
    assert usage.at(70.0) == {1: 12.5, 2: 15.0}  # a clock that goes back brings nothing back


def test_who_used_their_part_has_one_half() -> None:
    assert fair_factors({}, {}) == {}
    assert fair_factors({1: 5.0, 2: 5.0}, {1: 1.0, 2: 1.0}) == {1: 0.5, 2: 0.5}
    factors = fair_factors({1: 75.0, 2: 25.0, 3: 0.0}, {1: 1.0, 2: 1.0, 3: 0.0})
    assert factors[1] < 0.5 < factors[2] and factors[3] == 0.0
    assert fair_factors({1: 75.0, 2: 25.0}, {1: 3.0, 2: 1.0}) == {1: 0.5, 2: 0.5}


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(1)


def flux(running: Instance, *words: str) -> str:
    result = running.run("flux", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_job_that_waits_loses_priority_as_its_user_uses_more(running: Instance) -> None:
    load = ("jobtap", "load", "--remove=.priority-default", ".priority-fairshare")
    flux(running, *load, "interval=0.1s", "weight=1000", "urgency-weight=100")
    test = "--setattr=system.exec.test.run_duration=1h"
    used = flux(running, "submit", test, "true")
    flux(running, "job", "wait-event", used, "start")
    assert flux(running, "jobs", "-no", "{priority}", used) == "2600"
    waits = flux(running, "submit", "--urgency=8", "--dependency=afterany:" + used, "-n1", "true")
    held = flux(running, "submit", "--urgency=hold", "true")
    flux(running, "cancel", used)
    flux(running, "job", "wait-event", waits, "clean")
    assert flux(running, "jobs", "-no", "{priority}", held) == "0"
    wait_for(lambda: '"usage": {\n    "' in flux(running, "jobtap", "query", ".priority-fairshare"), what="usage")
    late = flux(running, "submit", "--urgency=16", test, "true")
    flux(running, "job", "wait-event", late, "start")
    assert flux(running, "jobs", "-no", "{priority}", late) == "2100"
    flux(running, "cancel", "--all")
    flux(running, "queue", "drain")
    kept = flux(running, "kvs", "get", "job-manager.fairshare")
    assert '"usage"' in kept
    flux(running, "jobtap", "load", "--remove=.priority-fairshare", ".priority-default")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("half-life=soon", "half-life"),
        ("interval=0", "interval must be longer than 0"),
        ("weight=-1", "weights must be 0 or more"),
        ("halflife=1d", "halflife"),
    ],
)
def test_wrong_options_are_refused(running: Instance, option: str, text: str) -> None:
    result = running.run("flux", "jobtap", "load", ".priority-fairshare", option)
    assert (result.returncode, text in result.stderr) == (1, True), result.stderr
