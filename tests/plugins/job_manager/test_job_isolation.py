"""Isolated policies: they do what others do, and a crash, a hang or a kill costs nobody else anything."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from jobs_kit import NORMAL_LIFE, Jobs

from flux.testing import wait_for

HEAD = "import os, signal\nfrom flux.hooks.jobtap import UNAVAILABLE, hookimpl, reject\n"


@pytest.fixture(autouse=True)
def _tidy(jobs: Jobs) -> Any:
    yield
    jobs.flux("jobtap", "remove", "all")
    jobs.reap()


def load(jobs: Jobs, folder: Path, body: str, *words: str, name: str = "policy.py") -> Path:
    file = folder / name
    file.write_text(HEAD + body)
    options = [word for word in words if word.startswith("-")]
    conf = [word for word in words if not word.startswith("-")]
    result = jobs.flux("jobtap", "load", "--isolated", *options, str(file), *conf)
    assert (result.returncode, result.stderr) == (0, "")
    return file


def state(jobs: Jobs, name: str = "policy.py") -> dict[str, Any]:
    found: dict[str, Any] = jobs.rpc("job-manager.jobtap-query", name=name)["isolated"]
    return found


EVERYTHING = """
class Everything:
    @hookimpl
    def plugin_load(self, manager, options):
        self.manager, self.limit = manager, options["limit"]
        manager.register_service("policy.seen", lambda msg: {"seen": self.seen, "by": msg.userid})
        self.seen = []

    @hookimpl
    def job_validate(self, job):
        if job.jobspec.duration > self.limit:
            reject(f"no more than {self.limit}s here")

    @hookimpl
    def job_dependency(self, job, scheme, dependency):
        if scheme == "tick":
            job.dependency_add("tick")
            self.manager.call_later(0, lambda: job.dependency_remove("tick"))
            return True

    @hookimpl
    def job_state_priority(self, job):
        job.annotate({"user": {"by": "policy"}})
        return 77

    @hookimpl
    def job_state_run(self, job):
        job.prolog_start("mine")
        job.prolog_finish("mine", 0)

    @hookimpl
    def job_event(self, job, event):
        self.seen.append(event["name"])

    @hookimpl
    def plugin_query(self):
        return {"seen": len(self.seen), "active": len(self.manager.active_jobs()),
                "queue": self.manager.queue(None).enable}
"""


def test_it_refuses_holds_ranks_and_watches_jobs_as_any_policy_does(jobs: Jobs, tmp_path: Path) -> None:
    load(jobs, tmp_path, EVERYTHING, "limit=60")
    assert jobs.refusal("exit", "0", duration=100.0) == "no more than 60s here"
    assert jobs.refusal("exit", "0", dependencies=[{"scheme": "moon", "value": "1"}]).endswith("not supported")
    jobid = jobs.submit("exit", "0", duration=30.0, dependencies=[{"scheme": "tick", "value": "1"}])
    assert jobs.wait(jobid)["success"]
    events = {event["name"]: event.get("context") for event in jobs.events(jobid)}
    assert events["priority"] == {"priority": 77}
    assert events["dependency-remove"] == {"description": "tick"}
    assert events["prolog-finish"] == {"description": "mine", "status": 0}
    assert events["alloc"]["annotations"]["user"] == {"by": "policy"}
    seen = jobs.rpc("job-manager.policy.seen")
    assert seen["by"] == os.getuid() and {"start", "finish", "clean"} <= set(seen["seen"])
    query = jobs.rpc("job-manager.jobtap-query", name="policy.py")
    assert (query["active"], query["queue"]) == (0, True)
    assert query["isolated"]["pid"] != os.getpid() and query["isolated"]["restarts"] == 0


def test_a_policy_that_cannot_be_loaded_is_refused_and_leaves_no_process(jobs: Jobs, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(HEAD + "@hookimpl\ndef plugin_load(manager): reject('not on a Saturday')\n")
    result = jobs.flux("jobtap", "load", "--isolated", str(file))
    assert (result.returncode, result.stderr) == (1, "flux-jobtap: not on a Saturday\n")
    file.write_text("import os\nos._exit(3)\n")
    result = jobs.flux("jobtap", "load", "--isolated", str(file))
    assert result.returncode == 1 and "exited with status 3 while it was being loaded" in result.stderr
    assert jobs.flux("jobtap", "list").stdout == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--deadline=1s"], "deadline is for isolated policies: add isolated"),
        (["--isolated", "--deadline=soon"], "deadline: "),
        (["--isolated", "--on-error=pray"], "on-error must be hold, refuse or ignore, not 'pray'"),
        (["--isolated", "--memory-limit=-1"], "memory-limit must be a number of MiB, not -1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(jobs: Jobs, tmp_path: Path, words: list[str], text: str) -> None:
    file = tmp_path / "policy.py"
    file.write_text(HEAD + "@hookimpl\ndef job_new(job): pass\n")
    result = jobs.flux("jobtap", "load", *words, str(file))
    assert result.returncode == 1 and text in result.stderr


def test_killing_its_process_changes_no_outcome(jobs: Jobs, tmp_path: Path) -> None:
    """The process is killed while it is asked about a job; its successor answers."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    body = f"""
@hookimpl
def job_state_priority(job):
    open({str(tmp_path / "asked")!r}, "a").close()
    open({str(gate)!r}).close()
    return 99
"""
    load(jobs, tmp_path, body, "--deadline=60s")
    jobid = jobs.submit("exit", "0")
    wait_for((tmp_path / "asked").exists)
    pid = jobs.rpc("job-manager.stats-get")["isolated"]["policy.py"]["pid"]
    (tmp_path / "open").touch()
    (tmp_path / "open").replace(gate)  # holds up nobody who comes now; the first waits at what was there before
    os.kill(pid, signal.SIGKILL)
    assert jobs.wait(jobid)["success"]
    assert jobs.names(jobid) == NORMAL_LIFE
    priority = next(event for event in jobs.events(jobid) if event["name"] == "priority")
    assert priority["context"] == {"priority": 99}
    assert jobs.wait(jobs.submit("exit", "0"))["success"]
    assert state(jobs)["restarts"] == 1


HANG = """
@hookimpl
def job_validate(job):
    if job.jobspec.jobspec["tasks"][0]["command"][0] == "hold":
        while True: pass
"""


@pytest.mark.parametrize(("on_error", "outcome"), [("refuse", "refused"), ("ignore", "runs"), ("hold", "held")])
def test_a_job_on_which_it_hangs_is_refused_let_pass_or_held(
    jobs: Jobs, tmp_path: Path, on_error: str, outcome: str
) -> None:
    # long where what it decides about the other jobs counts
    deadline = "3s" if outcome == "held" else "0.5s"
    load(jobs, tmp_path, HANG, f"--deadline={deadline}", f"--on-error={on_error}")
    if outcome == "refused":
        assert "policy policy.py cannot decide: job_validate took longer than 0.5s" in jobs.refusal("hold")
        return
    jobid = jobs.submit("hold")
    if outcome == "held":
        added = jobs.wait_event(jobid, "dependency-add")
        assert added["context"] == {"description": "policy=policy.py"}
        assert jobs.wait(jobs.submit("exit", "0"))["success"], "other jobs are not concerned"
        assert jobs.flux("jobtap", "remove", "policy.py").returncode == 0
    jobs.wait_event(jobid, "start")
    jobs.cancel(jobid)
    jobs.wait(jobid)


def test_one_that_keeps_dying_is_left_alone_and_the_list_says_why(jobs: Jobs, tmp_path: Path) -> None:
    body = "@hookimpl\ndef job_new(job):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    load(jobs, tmp_path, body, "--on-error=ignore")
    with_event = jobs.handle
    with_event.event_subscribe("jobtap")
    held = jobs.submit("hold")  # it is told of this job each time it starts, and dies
    answer = wait_for(lambda: jobs.rpc("job-manager.jobtap", query_only=True)["broken"], what="an open circuit")
    assert "was killed by signal 11" in answer["policy.py"]
    assert "policy.py  (not asked: process" in jobs.flux("jobtap", "list").stdout
    states = []
    while "open" not in states:
        states.append(with_event.event_recv(topic="jobtap").payload["state"])
    with_event.event_unsubscribe("jobtap")
    assert states == ["restart", "restart", "open"]
    assert jobs.wait(jobs.submit("exit", "0"))["success"]
    jobs.cancel(held)
    jobs.wait(held)


def test_a_mistake_in_it_holds_the_job_until_it_is_mended(jobs: Jobs, tmp_path: Path) -> None:
    file = load(jobs, tmp_path, "@hookimpl\ndef job_validate(job): job.nothing\n")
    jobid = jobs.submit("exit", "0")
    jobs.wait_event(jobid, "dependency-add")
    assert "AttributeError" in jobs.rpc("job-manager.jobtap-query", name="policy.py")["stats"]["last_error"]
    file.write_text(HEAD + "@hookimpl\ndef job_validate(job): reject('not this one')\n")
    assert jobs.flux("jobtap", "load", "--isolated", "--remove=policy.py", str(file)).returncode == 0
    assert "type=jobtap not this one" in jobs.wait(jobid)["errstr"]


def test_its_memory_has_a_limit(jobs: Jobs, tmp_path: Path) -> None:
    body = "hoard = []\n@hookimpl\ndef job_validate(job): hoard.append(bytearray(1 << 30))\n"
    load(jobs, tmp_path, body, "--memory-limit=700", "--on-error=refuse")
    assert "exited with status 12" in jobs.refusal("exit", "0")
