"""`flux submit`, `flux jobs`, `flux job` and `flux cancel` as users see them (their manual pages)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux.job import JobID

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jobid(run: Run) -> str:
    """A job that has ended well."""
    return run("submit", "--wait", "true").stdout.strip()


@pytest.fixture
def sleeper(run: Run) -> Iterator[str]:
    """A job that runs until somebody ends it, or the test does."""
    jobid = run("submit", "--wait-event=start", "sleep", "60").stdout.strip()
    assert JobID(jobid) > 0
    yield jobid
    run("cancel", jobid)
    run("job", "wait-event", "-q", jobid, "clean")


# -- submit


def test_copies_are_submitted_and_waited_for(run: Run) -> None:
    done = run("submit", "--cc=1-20", "--wait", "true")
    assert (done.returncode, done.stderr) == (0, "")
    ids = done.stdout.split()
    listed = run("jobs", "-a", "-n", "-o", "{id} {status}").stdout.splitlines()
    assert len(set(ids)) == 20
    assert {f"{JobID(jobid)} COMPLETED" for jobid in ids} <= set(listed)


def test_wait_gives_the_highest_exit_code(run: Run) -> None:
    done = run("submit", "--cc=1-3", "--wait", "-v", "--quiet", "sh", "-c", "exit {cc}")
    assert (done.returncode, done.stdout) == (3, "")
    assert "exited with code 2" in done.stderr


def test_wait_tells_of_exceptions(run: Run) -> None:
    done = run("submit", "--wait", "-N7", "true")
    assert done.returncode == 1
    assert "exception alloc: " in done.stderr


def test_watch_shows_output(run: Run) -> None:
    done = run("submit", "--quiet", "--bcc=1-3", "--watch", "sh", "-c", "echo {cc}; exit 2")
    assert sorted(done.stdout.split()) == ["1", "2", "3"]
    assert done.returncode == 2


def test_refused_jobs_do_not_stop_the_others(run: Run) -> None:
    done = run("submit", "--cc=0-2", "--setattr=system.duration={cc}", "--urgency=16", "-S", "system.cwd=/", "true")
    assert (done.returncode, len(done.stdout.split())) == (0, 3)
    mixed = run("submit", "--cc=0-1", "-S", 'system.environment={"A": {cc}}', "true")
    assert mixed.returncode == 1
    assert mixed.stderr.count("flux-submit: ") == 2


def test_ids_go_to_log_files(run: Run, tmp_path: Path) -> None:
    done = run("submit", "--cc=1-2", f"--log={tmp_path}/id.{{cc}}", "true")
    assert done.stdout == ""
    assert all(JobID((tmp_path / f"id.{cc}").read_text().strip()) for cc in (1, 2))


# -- jobs


def test_jobs_shows_active_ones_by_default(run: Run, jobid: str, sleeper: str) -> None:
    lines = run("jobs").stdout.splitlines()
    assert lines[0].split() == ["JOBID", "USER", "NAME", "ST", "NTASKS", "NNODES", "TIME", "INFO"]
    shown = "\n".join(lines)
    assert sleeper in shown
    assert jobid not in shown
    assert jobid in run("jobs", "--filter=completed").stdout
    assert sleeper not in run("jobs", "-f", "completed").stdout


def test_jobs_by_id_and_unknown_ids(run: Run, jobid: str) -> None:
    done = run("jobs", "-n", "-o", "{id.f58} {result} {returncode}", jobid, "f1234")
    assert done.stdout == f"{jobid} COMPLETED 0\n"
    assert (done.returncode, done.stderr) == (0, "flux-jobs: f1234: unknown job id\n")


def test_jobs_json(run: Run, jobid: str) -> None:
    job = json.loads(run("jobs", "--json", jobid).stdout)
    assert (job["id"], job["result"], job["waitstatus"]) == (int(JobID(jobid)), "COMPLETED", 0)
    assert job["id"] in [entry["id"] for entry in json.loads(run("jobs", "-a", "--json").stdout)["jobs"]]


def test_jobs_count_and_stats(run: Run, jobid: str) -> None:
    limited = run("jobs", "-a", "-n", "-c1")
    assert len(limited.stdout.splitlines()) == 1
    stats = run("jobs", "--stats-only")
    assert (stats.returncode, "completed" in stats.stdout) == (1, True)


def test_jobs_colours_on_demand(run: Run, jobid: str) -> None:
    assert "\033[" in run("jobs", "--color=always", jobid).stdout
    assert "\033[" not in run("jobs", jobid).stdout


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["-o", "{nnode}"], 1, "did you mean 'nnodes'"),
        (["-f", "done"], 1, "no job state or result"),
        (["xyz!"], 2, "job"),
    ],
)
def test_jobs_refuses_nonsense(run: Run, args: list[str], code: int, message: str) -> None:
    done = run("jobs", *args)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# -- job


def test_eventlog_has_the_life_of_the_job(run: Run, jobid: str) -> None:
    lines = run("job", "eventlog", jobid).stdout.splitlines()
    names = [line.split()[1] for line in lines]
    assert names == "submit validate depend priority alloc start finish release free clean".split()
    first = json.loads(run("job", "eventlog", "--format=json", jobid).stdout.splitlines()[0])
    assert first["name"] == "submit"
    assert run("job", "eventlog", "-T", "offset", "-p", "exec", jobid).stdout.split()[:2] == ["0.000000", "init"]


def test_wait_event(run: Run, jobid: str) -> None:
    assert "finish status=0" in run("job", "wait-event", "-m", "status=0", jobid, "finish").stdout
    assert run("job", "wait-event", "-q", jobid, "clean").stdout == ""
    assert len(run("job", "wait-event", "-v", jobid, "alloc").stdout.splitlines()) == 5
    assert "shell.init" in run("job", "wait-event", "-p", "guest.exec.eventlog", jobid, "shell.init").stdout
    never = run("job", "wait-event", jobid, "exception")
    assert (never.returncode, "event 'exception' never received" in never.stderr) == (1, True)


def test_wait_event_gives_up(run: Run, sleeper: str) -> None:
    late = run("job", "wait-event", "-t", "0.1s", sleeper, "finish")
    assert (late.returncode, late.stderr) == (1, "flux-job: wait-event timeout on event 'finish'\n")


def test_status_is_the_exit_code(run: Run, jobid: str, sleeper: str) -> None:
    failed = run("submit", "sh", "-c", "exit 9").stdout.strip()
    assert run("job", "status", jobid).returncode == 0
    assert run("job", "status", jobid, failed).returncode == 9
    run("job", "cancel", sleeper, "not", "needed")
    canceled = run("job", "status", "-v", "--exception-exit-code=42", sleeper)
    assert canceled.returncode == 42
    assert "note=not needed" in canceled.stderr


def test_kill_and_raise(run: Run, sleeper: str) -> None:
    assert run("job", "raise", "--severity=4", "--type=remark", sleeper, "just", "so").returncode == 0
    run("job", "wait-event", "-p", "exec", sleeper, "shell.start")
    assert run("job", "kill", "-s", "USR1", sleeper).returncode == 0
    assert run("job", "status", sleeper).returncode == 138
    assert 'type="remark" severity=4 note="just so"' in run("job", "eventlog", sleeper).stdout
    late = run("job", "kill", sleeper)
    assert (late.returncode, late.stderr.startswith(f"flux-job: kill {sleeper}: ")) == (1, True)
    assert "no signal 'NOPE'" in run("job", "kill", "-s", "NOPE", sleeper).stderr


def test_info_and_id(run: Run, jobid: str) -> None:
    assert json.loads(run("job", "info", jobid, "R").stdout)["version"] == 1
    assert "environment" not in json.loads(run("job", "info", jobid, "jobspec").stdout)["attributes"]["system"]
    original = json.loads(run("job", "info", "--original", jobid, "jobspec").stdout)
    assert original["tasks"][0]["command"] == ["true"]
    assert "nothing: key not found" in run("job", "info", jobid, "nothing").stderr
    assert run("job", "id", jobid).stdout == f"{int(JobID(jobid))}\n"
    assert run("job", "id", "--to=kvs", input=jobid).stdout == f"{JobID(jobid).kvs}\n"


def test_waitable_jobs(run: Run) -> None:
    run("submit", "--flags=waitable", "--cc=0-1", "sh", "-c", "exit {cc}")
    done = run("job", "wait", "--all")
    assert done.returncode == 1
    assert "exit" in done.stderr
    assert run("job", "wait").returncode == 2


def test_urgency_releases_a_held_job(run: Run) -> None:
    held = run("submit", "--urgency=hold", "true").stdout.strip()
    assert run("job", "urgency", "-v", held, "default").stderr == "old urgency: job held\n"
    assert run("job", "status", held).returncode == 0


def test_cancel(run: Run) -> None:
    ids = run("submit", "--cc=1-3", "--urgency=hold", "true").stdout.split()
    assert run("cancel", "-m", "changed my mind", ids[0]).returncode == 0
    assert 'note="changed my mind"' in run("job", "eventlog", ids[0]).stdout
    assert run("cancel", "--user=all", "--dry-run").stderr == "flux-cancel: Would cancel 2 jobs\n"
    assert run("job", "cancelall").stderr == "flux-job: Command matched 2 jobs (-f to confirm)\n"
    assert run("cancel", "--all").stderr == "flux-cancel: Canceled 2 jobs (0 errors)\n"
    assert run("cancel", "--states=pending").stderr == "flux-cancel: Matched 0 jobs\n"
    assert run("jobs", "-n").stdout == ""
    unknown = run("cancel", "f1234")
    assert (unknown.returncode, unknown.stderr) == (1, "flux-cancel: f1234: unknown job id\n")
    assert run("cancel").returncode == 1
