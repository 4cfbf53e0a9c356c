"""The job manager is unloaded and loaded again: nothing that it knew may be lost (RFC 16, RFC 21)."""

from __future__ import annotations

import pytest
from jobs_kit import NORMAL_LIFE, Jobs

from flux.errors import FluxError


def reload(jobs: Jobs) -> None:
    for module in ("fake-exec", "sched-simple", "job-manager"):
        assert jobs.flux("module", "remove", module).returncode == 0
    for module in ("job-manager", "sched-simple", f"{jobs.folder}/fake_exec.py"):
        loaded = jobs.flux("module", "load", module)
        assert (loaded.returncode, loaded.stderr) == (0, "")


@pytest.fixture(scope="module")
def lives(jobs: Jobs) -> dict[str, int]:
    """One job of each kind, before and after the job manager is reloaded."""
    jobs.rpc("job-manager.queue-start", start=False, all=True)
    lives = {"waiting": jobs.submit("exit", "0")}
    lives["dependent"] = jobs.submit("exit", "0", dependencies=[{"scheme": "afterok", "value": str(lives["waiting"])}])
    jobs.rpc("job-manager.queue-start", start=True, all=True)
    assert jobs.wait(lives["dependent"])["success"]
    lives["over"] = lives.pop("waiting")
    lives["running"] = jobs.submit("hold")
    jobs.wait_event(lives["running"], "start")
    lives["held"] = jobs.submit("exit", "0", urgency=0)
    lives["dependent"] = jobs.submit("exit", "0", dependencies=[{"scheme": "afterany", "value": str(lives["held"])}])
    jobs.rpc("job-manager.queue-enable", enable=False, all=True, reason="restart")
    reload(jobs)
    return lives


def test_the_state_of_the_queue_is_kept(jobs: Jobs, lives: dict[str, int]) -> None:
    assert jobs.refusal("exit", "0") == "job submission is disabled: restart"
    jobs.rpc("job-manager.queue-enable", enable=True, all=True)


def test_ids_keep_increasing(jobs: Jobs, lives: dict[str, int]) -> None:
    assert jobs.rpc("job-manager.getinfo")["max_jobid"] == lives["dependent"]


def test_what_is_over_is_known(jobs: Jobs, lives: dict[str, int]) -> None:
    assert jobs.names(lives["over"]) == NORMAL_LIFE
    with pytest.raises(FluxError, match="job is inactive"):
        jobs.rpc("job-manager.kill", id=lives["over"], signum=15)


def test_what_runs_is_taken_over_by_the_execution_service(jobs: Jobs, lives: dict[str, int]) -> None:
    jobid = lives["running"]
    jobs.cancel(jobid)
    assert jobs.names(jobid)[5:] == ["start", "exception", "finish", "release", "free", "clean"]
    assert "scheduler-restart" not in str(jobs.events(jobid)), "its resources were given to others"


def test_what_waits_goes_on_waiting(jobs: Jobs, lives: dict[str, int]) -> None:
    assert jobs.eventlog(lives["held"]).count('"flux-restart"') == 1
    assert "flux-restart" not in jobs.eventlog(lives["dependent"])
    jobs.rpc("job-manager.urgency", id=lives["held"], urgency=16)
    assert jobs.names(lives["held"])[-1] == "clean"
    assert jobs.names(lives["dependent"])[-1] == "clean"
