"""What policies may ask of the job manager: each call of flux_jobtap_get_flux(3) and jobtap.h under its name here.

Every policy is run in the job manager's process and in one of its own: a site must not have to write it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_kit import NORMAL_LIFE, Jobs

from flux.constants import FLUX_JOB_RESULT_CANCELED
from flux.testing import wait_for

HEAD = "from flux.hooks.jobtap import UNAVAILABLE, hookimpl, reject\nfrom flux.errors import FluxError\n"


@pytest.fixture(params=[False, True], ids=["inside", "isolated"])
def load(request: pytest.FixtureRequest, jobs: Jobs, tmp_path: Path) -> Iterator[Any]:
    """Load a policy from its text."""

    def load(body: str, *words: str, name: str = "policy.py") -> str:
        (tmp_path / name).write_text(HEAD + body)
        isolated = ["--isolated"] if request.param else []
        result = jobs.flux("jobtap", "load", *isolated, *words, str(tmp_path / name))
        return str(result.stderr)

    yield load
    jobs.flux("jobtap", "remove", "all")
    jobs.reap()


def contexts(jobs: Jobs, jobid: int, name: str) -> list[Any]:
    return [event.get("context") for event in jobs.events(jobid) if event["name"] == name]


FOLLOWER = """
class Follower:
    @hookimpl
    def plugin_load(self, manager):
        self.seen = []
        manager.register_service("policy.seen", lambda msg: {"seen": self.seen})

    @hookimpl
    def job_create(self, job):
        if job.urgency == 17:
            job.subscribe(self.on_event)

    def on_event(self, job, event):
        self.seen.append([job.id, event["name"], job.result])
        if event["name"] == "alloc":
            job.unsubscribe(self.on_event)
        if event["name"] == "start":
            self.seen.append("after all")
"""


def test_a_policy_follows_a_job_that_it_has_subscribed_to(jobs: Jobs, load: Any) -> None:
    assert load(FOLLOWER) == ""
    assert jobs.wait(jobs.submit("exit", "0"))["success"]
    followed = jobs.submit("exit", "0", urgency=17)
    assert jobs.wait(followed)["success"]
    seen = wait_for(lambda: jobs.rpc("job-manager.policy.seen")["seen"], what="events")
    assert seen == [[followed, name, None] for name in ("validate", "depend", "priority", "alloc")]


def test_a_subscription_ends_with_the_job(jobs: Jobs, load: Any) -> None:
    assert load(FOLLOWER.replace('"alloc"', '"never"')) == ""
    followed = jobs.submit("hold", urgency=17)
    jobs.wait_event(followed, "start")
    jobs.cancel(followed)
    jobs.wait(followed)

    def names() -> list[str]:
        return [entry[1] for entry in jobs.rpc("job-manager.policy.seen")["seen"] if entry != "after all"]

    wait_for(lambda: names()[-1:] == ["clean"], what="the last event")
    assert [name for name in names() if name in NORMAL_LIFE] == NORMAL_LIFE[1:]
    last = jobs.rpc("job-manager.policy.seen")["seen"][-1]
    assert last == [followed, "clean", FLUX_JOB_RESULT_CANCELED]


MARKER = """
@hookimpl
def job_state_priority(job):
    assert job.has_event("depend") and not job.has_event("alloc")
    job.set_flag("debug")
    job.jobspec_update({"attributes.system.duration": 77.0})
    job.annotate({"user": {"seen": True}})
    job.post_event("site-event", {"by": "policy"})
    return 42


@hookimpl
def job_update(job, updates):
    job.post_event("site-update", {"duration": job.system["duration"], "keys": list(updates)})


@hookimpl
def job_state_run(job):
    job.jobspec_update({"attributes.system.duration": 78.0})
"""


def test_flags_updates_events_annotations(jobs: Jobs, load: Any) -> None:
    assert load(MARKER) == ""
    jobid = jobs.submit("exit", "0")
    jobs.wait(jobid)
    assert contexts(jobs, jobid, "set-flags") == [{"flags": ["debug"]}]
    assert contexts(jobs, jobid, "jobspec-update") == [{"attributes.system.duration": 77.0}]
    assert contexts(jobs, jobid, "site-event") == [{"by": "policy"}]
    assert contexts(jobs, jobid, "site-update") == [{"duration": 77.0, "keys": ["attributes.system.duration"]}]
    assert contexts(jobs, jobid, "priority") == [{"priority": 42}]
    text = "the jobspec of a job that has got its resources cannot be updated"
    wait_for(
        lambda: text in str(jobs.rpc("job-manager.jobtap-query", name="policy.py")["stats"]["last_error"]),
        what="the refused update",
    )


REUSE = """
@hookimpl
def job_dependency(job, scheme, dependency):
    if scheme == "gone":
        assert job.dependency_add("gone") and not job.dependency_add("gone")
        job.dependency_remove("gone")
        job.dependency_add("gone")
        return True
"""


def test_a_dependency_that_was_met_cannot_be_added_again(jobs: Jobs, load: Any) -> None:
    assert load(REUSE) == ""
    assert "had a dependency gone before, which was met" in jobs.refusal(
        "exit", "0", dependencies=[{"scheme": "gone", "value": "1"}]
    )


AGAIN = """
@hookimpl
def job_dependency(job, scheme, dependency):
    if scheme in ("first", "second"):
        job.dependency_add(scheme)
        if scheme == "first":
            job.dependency_remove(scheme)
        return True


@hookimpl
def plugin_load(manager):
    def go(msg):
        for job in manager.active_jobs():
            job.dependency_remove("second")
    manager.register_service("policy.go", go)
"""


def test_a_dependency_that_was_met_is_no_error_when_the_policy_is_loaded_again(jobs: Jobs, load: Any) -> None:
    assert load(AGAIN) == ""
    needs = [{"scheme": scheme, "value": ""} for scheme in ("first", "second")]
    jobid = jobs.submit("exit", "0", dependencies=needs)
    assert load(AGAIN, "--remove=policy.py") == ""
    jobs.rpc("job-manager.policy.go")
    assert jobs.wait(jobid)["success"]
    assert contexts(jobs, jobid, "dependency-add") == [{"description": "first"}, {"description": "second"}]
    assert contexts(jobs, jobid, "exception") == []


CALLER = """
@hookimpl
def plugin_load(manager):
    def ask(msg):
        job = manager.job(msg.payload["id"])
        return {"answers": manager.call("site.price", {"factor": 3}, job)}
    manager.register_service("policy.ask", ask)
"""
ANSWERER = """
@hookimpl
def plugin_call(topic, arguments, job):
    if topic == "site.price":
        if job.jobspec.duration > 60:
            raise FluxError(33, "too long to have a price")
        return arguments["factor"] * job.urgency
"""


def test_a_policy_calls_the_others(jobs: Jobs, load: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(HEAD + ANSWERER)
    jobs.flux("jobtap", "load", str(other))
    assert load(CALLER) == ""
    jobid = jobs.submit("hold")
    assert jobs.rpc("job-manager.policy.ask", id=jobid) == {"answers": [48]}
    long = jobs.submit("hold", duration=100.0)
    assert str(jobs.error("job-manager.policy.ask", id=long)) == "too long to have a price"
    for each in (jobid, long):
        jobs.cancel(each)
        jobs.wait(each)


ORDER = """
load_order = {order!r}
seen = []


@hookimpl
def job_new(job):
    seen.append([job.state, job.id])


@hookimpl
def plugin_load(manager):
    manager.register_service("policy.order", lambda msg: {{"seen": seen}})
"""


@pytest.mark.parametrize("order", ["state", "-state"])
def test_active_jobs_come_in_the_order_that_was_asked_for(jobs: Jobs, load: Any, order: str) -> None:
    held, running = jobs.submit("hold", urgency=0), jobs.submit("hold")
    jobs.wait_event(running, "start")
    assert load(ORDER.format(order=order)) == ""
    seen = [jobid for _, jobid in jobs.rpc("job-manager.policy.order")["seen"]]
    assert seen == ([held, running] if order == "state" else [running, held])
    for each in (held, running):
        jobs.cancel(each)
        jobs.wait(each)


def test_an_order_that_is_none_is_refused(jobs: Jobs, load: Any) -> None:
    assert "load_order must be none, state, -state, not 'size'" in load(ORDER.format(order="size"))


def test_a_flag_that_nobody_knows_is_refused(jobs: Jobs, load: Any) -> None:
    assert load("@hookimpl\ndef job_new(job): job.set_flag('fast')\n") == ""
    jobs.wait(jobs.submit("exit", "0"))
    wait_for(
        lambda: "no flag 'fast'" in str(jobs.rpc("job-manager.jobtap-query", name="policy.py")["stats"]["last_error"]),
        what="the refused flag",
    )
