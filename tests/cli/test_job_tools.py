"""The tools of flux-job(1) for scripts: ids, lists, task maps, memos, time left, purge, submission of a jobspec."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from flux.job import JobID

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.usefixtures("no_jobs_left")


@pytest.fixture
def held(run: Run) -> str:
    """A job that does not start."""
    return run("submit", "--urgency=hold", "true").stdout.strip()


def fails(done: subprocess.CompletedProcess[str], text: str) -> None:
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_jobspec_is_submitted_from_a_file_or_stdin(run: Run) -> None:
    jobspec = run("run", "--dry-run", "sh", "-c", "echo from a file").stdout
    assert run("job", "attach", run("job", "submit", input=jobspec).stdout.strip()).stdout == "from a file\n"
    as_yaml = "version: 1\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in json.loads(jobspec).items())
    waitable = run("job", "submit", "--flags=waitable,debug", "-u", "31", input=as_yaml).stdout.strip()
    assert run("job", "wait", waitable).returncode == 0
    fails(run("job", "submit", input=""), "required jobspec is empty")
    fails(run("job", "submit", input="{x"), "jobspec: invalid JSON")
    fails(run("job", "submit", "-f", "bogus", input=jobspec), "unknown flag: bogus")
    fails(run("job", "submit", "/nonexistent"), "/nonexistent: No such file or directory")


def test_last_jobs(run: Run) -> None:
    ids = run("submit", "--cc=1-3", "true").stdout.split()[::-1]
    assert run("job", "last").stdout.split() == ids[:1]
    assert run("job", "last", "2").stdout.split() == ids[:2]
    assert run("job", "last", "[:3]").stdout.split() == ids
    fails(run("job", "last", "x"), "expected a number of jobs or a slice")
    fails(run("job", "last", "0"), "job history is empty")


def test_lists_are_json(run: Run, held: str) -> None:
    done = run("submit", "--wait", "true").stdout.strip()
    assert [json.loads(line)["id"] for line in run("job", "list").stdout.splitlines()] == [JobID(held)]
    newest = json.loads(run("job", "list-inactive", "-c1").stdout)
    assert (newest["id"], newest["state"]) == (JobID(done), 64)
    assert JobID(done) in [json.loads(line)["id"] for line in run("job", "list", "-a").stdout.splitlines()]
    assert json.loads(run("job", "list-ids", "-W", "pending", held).stdout)["id"] == JobID(held)
    sleeper = run("submit", "--wait-event=start", "sleep", "600").stdout.strip()
    assert json.loads(run("job", "list-ids", "-W", "running", sleeper).stdout)["state"] == 16
    fails(run("job", "list", "-s", "bogus"), "bogus")
    assert json.loads(run("job", "stats").stdout)["job_states"]["run"] == 1


def test_memos_are_annotations(run: Run, held: str) -> None:
    assert run("job", "memo", held, "text=abc", 'object={"a": 1}').returncode == 0
    assert run("job", "memo", "--volatile", held, "number=42").returncode == 0
    user = json.loads(run("jobs", "--json", held).stdout)["annotations"]["user"]
    assert user == {"text": "abc", "object": {"a": 1}, "number": 42}
    assert run("job", "eventlog", held).stdout.count("memo ") == 1
    fails(run("job", "memo", held, "nothing"), "memo: expected KEY=VALUE, got 'nothing'")
    fails(run("job", "memo", "1234", "a=b"), "memo: ")


def test_time_left(run: Run, held: str) -> None:
    limited = run("submit", "--wait-event=start", "-t", "10m", "sleep", "600").stdout.strip()
    assert 300 < int(run("job", "timeleft", limited).stdout) <= 600
    assert run("job", "timeleft", "-H", limited).stdout.endswith("m\n")
    assert run("job", "timeleft").stdout == "4294967295\n"
    assert run("job", "timeleft", "-H").stdout == "infinity\n"
    fails(run("job", "timeleft", held), f"job {held} has not started")
    fails(run("job", "timeleft", "f1"), "f1: No such job")
    run("cancel", limited)
    run("job", "status", limited)
    assert run("job", "timeleft", limited).stdout == "0\n"


def test_task_maps(run: Run) -> None:
    jobid = run("submit", "--wait", "-N2", "-n2", "true").stdout.strip()
    ask = lambda *args: run("job", "taskmap", *args).stdout  # noqa: E731
    assert ask(jobid) == "[[0,2,1,1]]\n"
    assert ask("--to=raw", jobid) == "0;1\n"
    assert ask("--to=multiline", jobid) == "0: 0\n1: 1\n"
    assert [line.split()[1] for line in ask("--to=hosts", jobid).splitlines()] == ["0", "1"]
    assert (ask("--taskids=1", jobid), ask("--ntasks=0", jobid), ask("--nodeid=1", jobid)) == ("1\n",) * 3
    assert ask("--to=hosts", jobid).startswith(ask("--hostname=0", jobid).strip() + ":")
    assert ask("--to=pmi", "0-3;4-7") == "(vector,(0,2,4))\n"
    fails(run("job", "taskmap", "--to=hosts", "[[0,2,1,1]]"), "for a job id only")
    fails(run("job", "taskmap", "--nodeid=7", jobid), "no task 7")
    fails(run("job", "taskmap", "junk!"), "neither a job id nor a task map")


def test_exceptions_and_signals_go_to_many_jobs(run: Run) -> None:
    one, two = run("submit", "--wait-event=start", "--cc=1-2", "sleep", "600").stdout.split()
    assert run("job", "raise", "-s5", "-t", "remark", one, two, "just", "so").returncode == 0
    assert run("job", "raise", "-s5", one, "--", two).returncode == 0
    log = run("job", "eventlog", one).stdout
    assert 'type="remark" severity=5 note="just so"' in log
    assert f'type="cancel" severity=5 note="{two}"' in log
    fails(run("job", "raise", "-m", "a", one, "b", "c!"), "not both")
    for jobid in (one, two):
        run("job", "wait-event", "-p", "exec", jobid, "shell.start")
    fails(run("job", "kill", "-s", "KILL", one, "1234", two), "kill 1234: unknown job id")
    assert run("job", "status", one, two).returncode == 137


def test_purge(run: Run, held: str) -> None:
    done = run("submit", "--wait", "true").stdout.strip()
    assert "use --force to purge 1 of " in run("job", "purge", done).stdout
    assert run("job", "purge", "--force", done).stdout.startswith("purged 1 inactive jobs")
    fails(run("job", "eventlog", done), f"job {done} not found")
    assert run("job", "purge", "--age-limit=1d").stdout.startswith("use --force to purge 0 of ")
    assert "0 remaining" in run("job", "purge", "-f", "--num-limit=0", "--batch=1").stdout
    fails(run("job", "purge", held), "purge: ")
    fails(run("job", "purge", "--num-limit=-4"), "expected 0 or more")


def test_namespaces(run: Run) -> None:
    assert run("job", "namespace", "f2", "3").stdout == "job-1\njob-3\n"
    assert run("job", "namespace", input="0x10").stdout == "job-16\n"


def test_paths_of_eventlogs(run: Run) -> None:
    jobid = run("submit", "--wait", "true").stdout.strip()
    for command in (["eventlog", "-p", "nope", jobid], ["wait-event", "-p", "guest.nope", jobid, "x"]):
        fails(run("job", *command), "not found")
    fails(run("job", "eventlog", "1234"), "job 1234 not found")
    fails(run("job", "wait-event", "-c", "0", jobid, "clean"), "count must be > 0")
    assert float(run("job", "wait-event", "-T", "offset", jobid, "clean").stdout.split()[0]) > 0


def test_status_as_json_lines(run: Run) -> None:
    ids = run("submit", "--wait", "--cc=0-1", "sh", "-c", "exit {cc}").stdout.split()
    done = run("job", "status", "-vj", *ids)
    assert sorted(json.loads(line)["waitstatus"] for line in done.stdout.splitlines()) == [0, 256]
    assert done.stderr.splitlines()[:2] == ["flux-job: fetching status for 2 jobs", "flux-job: all done."]
    assert done.returncode == 1
