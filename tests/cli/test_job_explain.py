"""`flux job explain` says what a job has been through and what it waits for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def site(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(2)


def submit(site: Instance, *words: str) -> str:
    result = site.run("flux", "submit", *words)
    assert result.returncode == 0, result.stderr
    return str(result.stdout.strip())


def waits(site: Instance, job: str) -> list[list[str]]:
    """[topic, sentence] of what a job waits for."""
    result = site.run("flux", "job", "explain", "--json", job)
    found: dict[str, Any] = json.loads(result.stdout)
    return [[step["topic"], step["text"]] for step in found["steps"] if step["waiting"]]


def test_each_thing_that_keeps_a_job_has_a_sentence(site: Instance, tmp_path: Path) -> None:
    first = submit(site, "-N2", "sleep", "inf")
    site.run("flux", "job", "wait-event", first, "start")
    second = submit(site, "-N2", "true")
    assert [topic for topic, _ in waits(site, second)] == ["scheduler"]
    third = submit(site, "-N2", "true")
    assert ["scheduler", "for jobs of the queue that come before it: 1"] in waits(site, third)
    held = submit(site, "--urgency=hold", "true")
    assert waits(site, held) == [["priority", "it is held: its priority is 0 (urgency 0)"]]
    after = submit(site, f"--dependency=afterok:{first}", "--begin-time=+1h", "true")
    (kind, job), (_, until) = waits(site, after)
    assert (kind, job) == ("dependency", f"for job {first} to succeed") and until.startswith("until 20")
    site.run("flux", "resource", "drain", "1", "bad disk")
    site.run("flux", "queue", "stop", "--all", "--message=maintenance")
    found = waits(site, second)
    assert ["queue", "for the queue to be started, which is stopped: maintenance"] in found
    assert ["resources", "of 2 nodes, ranks 1 are drained: bad disk"] in found
    policy = tmp_path / "why.py"
    policy.write_text(
        "from flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_explain(job): return 'the tape is not mounted'\n"
    )
    for isolated in ([], ["--isolated"]):
        site.run("flux", "jobtap", "load", *isolated, str(policy))
        assert ["policy", "why.py: the tape is not mounted"] in waits(site, second)
        site.run("flux", "jobtap", "remove", "why.py")
    assert site.run("flux", "cancel", "--all").returncode == 0
    site.run("flux", "queue", "start", "--all")
    site.run("flux", "resource", "undrain", "1")


def test_a_job_that_is_over_has_its_life_told(site: Instance) -> None:
    job = submit(site, "false")
    site.run("flux", "job", "wait-event", job, "clean")
    head, *lines = site.run("flux", "job", "explain", job).stdout.splitlines()
    assert head == f"{job} is in INACTIVE"
    told = [line.split(None, 2)[2] for line in lines]
    assert told[0].startswith("done   submission  submitted by user")
    assert "done   run         finished, exit 1" in told and told[-1] == "done   end         is over"
    assert not any("waits" in line for line in lines)


def test_an_unknown_job_is_an_error(site: Instance) -> None:
    result = site.run("flux", "job", "explain", "1")
    assert (result.returncode, result.stderr) == (1, "flux-job: 1: No such job\n")
