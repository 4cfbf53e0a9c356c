"""Job policies in a running instance: builtin ones, and a site's own loaded from a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobs_kit import NORMAL_LIFE, Jobs

from flux.job import JobID


def f58(jobid: int) -> str:
    os.environ.pop("FLUX_F58_FORCE_ASCII", None)
    return "ƒ" + JobID(jobid).f58plain[1:]


def dependency(scheme: str, value: object) -> dict:
    return {"dependencies": [{"scheme": scheme, "value": str(value)}]}


def test_the_builtin_policies_are_loaded_and_hidden(jobs: Jobs) -> None:
    assert jobs.flux("jobtap", "list").stdout == ""
    shown = jobs.flux("jobtap", "list", "-a").stdout.split()
    assert {".priority-default", ".dependency-after"} <= set(shown)


def test_a_policy_file_refuses_jobs_until_it_is_removed(jobs: Jobs, tmp_path: Path) -> None:
    policy = tmp_path / "limit.py"
    policy.write_text(
        "from flux.hooks.jobtap import hookimpl, reject\n"
        "@hookimpl\n"
        "def job_validate(job, conf):\n"
        "    if job.jobspec.duration == 0:\n"
        "        reject('a time limit is required here')\n"
    )
    loaded = jobs.flux("jobtap", "load", str(policy))
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert jobs.flux("jobtap", "list").stdout == "limit.py\n"
    assert jobs.refusal("exit", "0") == "a time limit is required here"
    assert jobs.wait(jobs.submit("exit", "0", duration=60.0))["success"]
    assert jobs.flux("jobtap", "remove", "limit.py").returncode == 0
    assert jobs.wait(jobs.submit("exit", "0"))["success"]


def test_a_policy_is_configured_when_it_is_loaded(jobs: Jobs, tmp_path: Path) -> None:
    policy = tmp_path / "fixed.py"
    policy.write_text(
        "from flux.hooks.jobtap import hookimpl\n"
        "class Fixed:\n"
        "    @hookimpl\n"
        "    def plugin_load(self, manager, options):\n"
        "        self.priority = options['priority']\n"
        "        manager.register_service('fixed.get', lambda msg: {'priority': self.priority}, allow=2)\n"
        "    @hookimpl\n"
        "    def job_state_priority(self, job):\n"
        "        return self.priority\n"
        "    @hookimpl\n"
        "    def plugin_query(self):\n"
        "        return {'priority': self.priority}\n"
        "fixed = Fixed()\n"
        "plugin_load, job_state_priority, plugin_query = (\n"
        "    fixed.plugin_load, fixed.job_state_priority, fixed.plugin_query)\n"
    )
    assert jobs.flux("jobtap", "load", str(policy), "priority=4242").returncode == 0
    assert jobs.rpc("job-manager.fixed.get") == {"priority": 4242}
    query = jobs.rpc("job-manager.jobtap-query", name="fixed.py")
    assert query["priority"] == 4242 and query["path"] == str(policy)
    jobid = jobs.submit("exit", "0")
    assert jobs.wait_event(jobid, "priority")["context"]["priority"] == 4242
    jobs.wait(jobid)
    assert jobs.flux("jobtap", "remove", "all").returncode == 0
    assert "Unknown service method" in str(jobs.error("job-manager.fixed.get"))


def test_a_misspelt_hook_is_refused_by_flux_jobtap_load(jobs: Jobs, tmp_path: Path) -> None:
    policy = tmp_path / "typo.py"
    policy.write_text("from flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_validat(job): ...\n")
    result = jobs.flux("jobtap", "load", str(policy))
    assert result.returncode == 1
    assert 'job_validat, which is no hook of job-manager; did you mean "job_validate"?' in result.stderr
    assert jobs.flux("jobtap", "list").stdout == ""


def test_jobs_without_a_priority_get_one_from_a_policy_that_is_loaded(jobs: Jobs) -> None:
    assert jobs.flux("jobtap", "remove", ".priority-default").returncode == 0
    jobid = jobs.submit("exit", "0")
    jobs.wait_event(jobid, "depend")
    assert jobs.flux("jobtap", "load", ".priority-default").returncode == 0
    assert jobs.wait(jobid)["success"]


def test_a_plugin_in_c_is_named_as_the_problem(jobs: Jobs) -> None:
    result = jobs.flux("jobtap", "load", "site.so")
    assert result.returncode == 1 and "site.so not found among policies: these are Python files" in result.stderr


def test_a_policy_that_fails_in_validation_refuses_the_job_and_is_counted(jobs: Jobs, tmp_path: Path) -> None:
    policy = tmp_path / "broken.py"
    policy.write_text("from flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_validate(job): job.nothing\n")
    jobs.flux("jobtap", "load", str(policy))
    assert jobs.refusal("exit", "0").startswith("broken.py: job_validate: AttributeError")
    assert jobs.rpc("job-manager.jobtap-query", name="broken.py")["stats"]["errors"] == 1
    jobs.flux("jobtap", "remove", "broken.py")


def test_a_policy_that_fails_in_a_state_ends_the_job_with_an_exception(jobs: Jobs, tmp_path: Path) -> None:
    policy = tmp_path / "fragile.py"
    policy.write_text("from flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_state_run(job): 1 / 0\n")
    jobs.flux("jobtap", "load", str(policy))
    jobid = jobs.submit("exit", "0")
    assert "type=jobtap fragile.py: job_state_run: ZeroDivisionError: division by zero" in jobs.wait(jobid)["errstr"]
    jobs.flux("jobtap", "remove", "fragile.py")
    assert jobs.names(jobid)[-3:] == ["exception", "free", "clean"]


def test_a_job_after_another_waits_for_its_end(jobs: Jobs) -> None:
    first = jobs.submit("hold")
    second = jobs.submit("exit", "0", **dependency("afterany", first))
    added = jobs.wait_event(second, "dependency-add")
    assert added["context"] == {"description": f"after-finish={f58(first)}"}
    jobs.cancel(first)
    assert jobs.wait(second)["success"]
    expected = [*NORMAL_LIFE[:1], "dependency-add", "validate", "dependency-remove", *NORMAL_LIFE[2:]]
    assert jobs.names(second) == expected
    jobs.wait(first)


def test_a_job_after_the_start_of_another(jobs: Jobs) -> None:
    first = jobs.submit("hold", urgency=0)
    second = jobs.submit("exit", "0", **dependency("afterstart", first))
    jobs.rpc("job-manager.urgency", id=first, urgency=16)
    assert jobs.wait(second)["success"]
    jobs.cancel(first)
    jobs.wait(first)


def test_a_dependency_that_cannot_be_met_any_more_ends_the_job(jobs: Jobs) -> None:
    first = jobs.submit("hold")
    second = jobs.submit("exit", "0", **dependency("afterok", first))
    third = jobs.submit("exit", "0", **dependency("afternotok", first))
    jobs.cancel(first)
    assert "can never be satisfied" in jobs.wait(second)["errstr"]
    assert jobs.wait(third)["success"]
    assert "can never be satisfied" in jobs.refusal("exit", "0", **dependency("afterok", first))
    jobs.wait(first)


def test_dependencies_nobody_knows_are_refused(jobs: Jobs) -> None:
    assert jobs.refusal("exit", "0", **dependency("moon", 1)) == 'dependency scheme "moon" not supported'
    assert jobs.refusal("exit", "0", **dependency("afterok", 1)) == "afterok: job 1 not found"
    assert jobs.refusal("exit", "0", **dependency("afterok", "x!")) == "afterok: x! is not a job id"


def test_a_begin_time_in_the_future_holds_the_job(jobs: Jobs) -> None:
    when = time.time() + 3.0  # it has to be submitted by then
    jobid = jobs.submit("exit", "0", **dependency("begin-time", when))
    assert jobs.wait_event(jobid, "dependency-add")["context"] == {"description": f"begin-time={when:.3f}"}
    assert jobs.wait_event(jobid, "depend")["timestamp"] >= round(when, 3)
    assert jobs.wait(jobid)["success"]


def test_one_singleton_of_a_name_runs_at_a_time(jobs: Jobs) -> None:
    named = {"job.name": "only", **dependency("singleton", "")}
    first, second, third = (jobs.submit("hold", **named) for _ in range(3))
    jobs.wait_event(first, "start")
    for waiting, running in ((second, first), (third, second)):
        assert '"depend"' not in jobs.eventlog(waiting)
        jobs.cancel(running)
        jobs.wait_event(waiting, "start")
    jobs.cancel(third)
    for jobid in (first, second, third):
        jobs.wait(jobid)


def test_history_is_newest_first(jobs: Jobs) -> None:
    ids = [jobs.submit("exit", "0") for _ in range(3)]
    for jobid in ids:
        jobs.wait(jobid)
    assert jobs.rpc("job-manager.history.get", slice="[:3]")["jobs"] == ids[::-1]
    assert jobs.rpc("job-manager.history.get", slice="[0]")["jobs"] == ids[-1:]
    assert "not a slice" in str(jobs.error("job-manager.history.get", slice="x"))


def test_limits_of_the_configuration_apply(jobs: Jobs) -> None:
    limits = {"duration": "1m", "job-size": {"max": {"ncores": 1}}}
    jobs.handle.rpc("job-manager.config-reload", {"policy": {"limits": limits}}).get()
    assert "requested duration (1.017m) exceeds policy limit of 1m" in jobs.refusal("exit", "0", duration=61.0)
    assert "(unlimited) exceeds" in jobs.refusal("exit", "0")
    refused = jobs.refusal("exit", "0", tasks=2, duration=10.0)
    assert refused == "requested ncores (2) exceeds policy limit of 1"
    bad = jobs.error("job-manager.config-reload", policy={"limits": {"duration": "soon"}})
    assert "policy.limits.duration" in str(bad)
    jobs.handle.rpc("job-manager.config-reload", {}).get()
    assert jobs.wait(jobs.submit("exit", "0"))["success"]


def strings(*pairs: tuple[str, str], **more: str) -> dict:
    return {"dependencies": [{"scheme": "string", "value": name, "type": kind, **more} for name, kind in pairs]}


def test_jobs_wait_for_those_that_gave_out_a_name(jobs: Jobs) -> None:
    giver = jobs.submit("hold", **strings(("mesh", "out")))
    middle = jobs.submit("exit", "0", **strings(("mesh", "in"), ("result", "out")))
    last = jobs.submit("exit", "0", **strings(("result", "inout")))
    free = jobs.submit("exit", "0", **strings(("mesh", "in"), scope="global"))
    assert jobs.wait_event(middle, "dependency-add")["context"] == {"description": f"string=mesh/{f58(giver)}"}
    assert jobs.wait_event(last, "dependency-add")["context"] == {"description": f"string=result/{f58(middle)}"}
    assert jobs.wait(free)["success"], "the name was not given out in the global scope"
    jobs.cancel(giver)
    assert jobs.wait(middle)["success"] and jobs.wait(last)["success"]
    jobs.wait(giver)


def test_a_name_without_a_proper_type_or_scope_is_refused(jobs: Jobs) -> None:
    assert jobs.refusal("hold", **strings(("mesh", "up"))) == "string:mesh: type must be in, out or inout, not up"
    refusal = jobs.refusal("hold", **strings(("mesh", "in"), scope="room"))
    assert refusal == "string:mesh: scope must be user or global, not room"


def fluid(value: object, kind: str = "in", **more: str) -> dict:
    return {"dependencies": [{"scheme": "fluid", "value": str(value), "type": kind, **more}]}


def test_a_job_gives_out_its_own_id(jobs: Jobs) -> None:
    first = jobs.submit("hold")
    waits = jobs.submit("exit", "0", **fluid(f58(first)))
    also = jobs.submit("exit", "0", **fluid(JobID(first).dec, "inout"))
    after = jobs.submit("exit", "0", **fluid(JobID(first).hex))
    assert jobs.wait_event(waits, "dependency-add")["context"] == {"description": f"fluid={f58(first)}/{f58(first)}"}
    assert jobs.eventlog(after).count("dependency-add") == 2, (
        "the job itself, and the one that gives its id out as well"
    )
    jobs.cancel(first)
    assert all(jobs.wait(jobid)["success"] for jobid in (waits, also, after))
    jobs.wait(first)
    assert jobs.wait(jobs.submit("exit", "0", **fluid(first)))["success"], "it is over"


def test_ids_that_are_none_are_refused(jobs: Jobs) -> None:
    assert jobs.refusal("hold", **fluid("x!")) == "fluid: x! is not a job id"
    assert jobs.refusal("hold", **fluid(1)) == "fluid: job 1 not found"
    assert jobs.refusal("hold", **fluid(1, "up")) == "fluid:1: type must be in, out or inout, not up"
