"""Shells of real jobs on one broker: exit codes, output, input, environment, signals (flux-shell(1))."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from shell_jobs import COMPOSITION, Jobs, RunningJob

from flux.errors import FluxError
from flux.testing import Instance, runs, wait_for


def stdin(jobs: Jobs, job: RunningJob, data: str, eof: bool = False, rank: str = "all") -> None:
    service = job.wait_event("shell.init")["service"]
    io: dict[str, Any] = {"stream": "stdin", "rank": rank, "data": data}
    jobs.handle.rpc(f"{service}.stdin", io | ({"eof": True} if eof else {}), nodeid=0).get()


def test_events_and_output_of_a_job(jobs: Jobs) -> None:
    job, codes = jobs.run(["sh", "-c", "echo out; echo err >&2"])
    assert codes == [0]
    assert job.names() == ["shell.init", "shell.start", "shell.task-exit"]
    assert job.output() == {"0": "out\n"}
    assert job.output("stderr") == {"0": "err\n"}
    header = job.eventlog("output")[0]
    assert header.context["count"] == {"stdout": 1, "stderr": 1}
    assert job.eofs() == 2


def test_highest_exit_code_of_the_tasks_is_the_shells(jobs: Jobs) -> None:
    _, codes = jobs.run(["sh", "-c", "exit $((3 - FLUX_TASK_RANK))"], [3])
    assert codes == [3]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_signalled_task_gives_128_plus_signal(jobs: Jobs, signum: int) -> None:
    _, codes = jobs.run(["sh", "-c", f"kill -{signum} $$"])
    assert codes == [128 + signum]


def test_a_program_that_is_not_there(jobs: Jobs) -> None:
    job, codes = jobs.run(["nosuchprogram"])
    assert codes == [127]
    found = next(e for e in jobs.exceptions() if e["id"] == job.id)
    assert (
        found["note"] == f"task 0 (host {os.uname().nodename}): start failed: nosuchprogram: No such file or directory"
    )
    assert (found["type"], found["severity"], found["wait_status"]) == ("exec", 0, 127 << 8)
    assert job.eofs() == 2


def test_a_program_that_is_none(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("x")
    job, codes = jobs.run([str(path)])
    assert codes == [126]
    assert "Permission denied" in next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)


def test_a_variable_that_no_environment_can_hold(jobs: Jobs) -> None:
    job, codes = jobs.run(["true"], environment={"PATH": os.environ["PATH"], "A=B": "c"})
    assert codes == [126]
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert note.endswith("start failed: true: illegal environment variable name")


def test_a_script_without_interpreter_line_runs(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("echo ran $1\n")
    path.chmod(0o755)
    assert jobs.run([str(path), "it"])[0].output() == {"0": "ran it\n"}


def test_task_environment(jobs: Jobs) -> None:
    job, _ = jobs.run(["env"], [2], environment={"PATH": os.environ["PATH"], "A": "b", "GONE": None})
    env = dict(line.split("=", 1) for line in job.output()["1"].splitlines())
    assert env["A"] == "b"
    assert "GONE" not in env
    assert env["FLUX_TASK_RANK"] == env["FLUX_TASK_LOCAL_ID"] == env["PMI_RANK"] == "1"
    assert env["FLUX_JOB_SIZE"] == env["PMI_SIZE"] == "2"
    assert env["FLUX_JOB_NNODES"] == "1"
    assert env["FLUX_KVS_NAMESPACE"] == job.namespace
    assert env["FLUX_URI"] == jobs.instance.uri
    assert env["FLUX_JOB_ID_PATH"] == "/" + env["FLUX_JOB_ID"]
    assert not Path(env["FLUX_JOB_TMPDIR"]).exists()


def test_working_directory(jobs: Jobs, tmp_path: Path) -> None:
    assert jobs.run(["pwd"], cwd=str(tmp_path))[0].output() == {"0": f"{tmp_path}\n"}
    job, codes = jobs.run(["pwd"], cwd="/nonexistent")
    assert (codes, job.output()) == ([0], {"0": "/tmp\n"})
    assert any(
        ": could not change directory" in e.context["message"] for e in job.eventlog("output") if e.name == "log"
    )


def test_much_output_arrives_complete(jobs: Jobs) -> None:
    job, _ = jobs.run(["seq", "1", "20000"])
    assert job.output()["0"] == "".join(f"{n}\n" for n in range(1, 20001))


def test_output_without_newline_and_after_the_task_has_ended(jobs: Jobs) -> None:
    job, codes = jobs.run(["sh", "-c", "(sleep 0.2; printf late) & printf early"])
    assert (codes, job.output()) == ([0], {"0": "earlylate"})


def test_stdout_closed_early(jobs: Jobs) -> None:
    job, codes = jobs.run(["sh", "-c", "echo first; exec >&- ; echo second >&2; exit 5"])
    assert codes == [5]
    assert job.output() == {"0": "first\n"}


def test_stdin_reaches_tasks_and_ends(jobs: Jobs) -> None:
    job = jobs.start(["cat"], [2])
    stdin(jobs, job, "one\n")
    stdin(jobs, job, "two\n", rank="1")
    stdin(jobs, job, "", eof=True)
    assert job.wait() == [0]
    assert job.output() == {"0": "one\n", "1": "one\ntwo\n"}
    assert job.names("input") == ["header", "data", "data", "data"]


def test_stdin_after_its_end_is_refused(jobs: Jobs) -> None:
    job = jobs.start(["sleep", "1000"])
    stdin(jobs, job, "", eof=True)
    with pytest.raises(BrokenPipeError, match="standard input has ended"):
        stdin(jobs, job, "more")
    job.kill(signal.SIGKILL)
    assert job.wait() == [137]


def test_files_for_input_and_output(jobs: Jobs, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out-{{id.dec}}"
    source.write_text("text\n")
    options = {
        "input": {"stdin": {"type": "file", "path": str(source)}},
        "output": {"stdout": {"type": "file", "path": str(target), "label": True}},
    }
    job, codes = jobs.run(["cat"], [2], options=options)
    assert codes == [0]
    written = tmp_path / f"out-{job.id}"
    assert sorted(written.read_text().splitlines()) == ["0: text", "1: text"]
    redirect = next(e for e in job.eventlog("output") if e.name == "redirect")
    assert redirect.context == {"stream": "stdout", "rank": "[0-1]", "path": str(written)}


def test_a_file_for_each_task(jobs: Jobs, tmp_path: Path) -> None:
    options = {"output": {"stdout": {"path": str(tmp_path / "{{taskid}}")}}}
    job, _ = jobs.run(["sh", "-c", "echo $FLUX_TASK_RANK"], [100], options=options)
    assert [(tmp_path / str(rank)).read_text() for rank in range(100)] == [f"{rank}\n" for rank in range(100)]
    redirect = next(e for e in job.eventlog("output") if e.name == "redirect")
    assert redirect.context["path"] == f"{tmp_path}/{{{{taskid}}}}"


def test_a_file_for_each_node_that_is_the_same_for_two_has_the_lines_of_both(jobs2: Jobs, tmp_path: Path) -> None:
    options = {"output": {"stdout": {"type": "file", "path": str(tmp_path / "{{node.ncores}}")}}}
    jobs2.run(["sh", "-c", "echo $FLUX_TASK_RANK"], [1, 1], options=options)
    assert sorted((tmp_path / "1").read_text()) == ["\n", "\n", "0", "1"]


def test_a_full_disk_is_said_once_and_does_not_end_the_job(jobs: Jobs) -> None:
    options = {"output": {"stdout": {"type": "file", "path": "/dev/full"}}}
    job, codes = jobs.run(["sh", "-c", "echo a; echo b; exit 3"], options=options)
    assert codes == [3]
    said = [(e["type"], e["severity"], e["note"]) for e in jobs.exceptions() if e["id"] == job.id]
    assert said == [("output", 1, "output file /dev/full: No space left on device: what cannot be written is lost")]


def test_a_tag_that_is_not_closed_is_said(jobs: Jobs, tmp_path: Path) -> None:
    options = {"output": {"stdout": {"path": str(tmp_path / "{{taskid")}}}
    job, codes = jobs.run(["echo", "hi"], options=options)
    assert codes == [0]
    said = [event.context["message"] for event in job.eventlog("output") if event.name == "log"]
    assert "output.stdout.path" in said[0] and "{{taskid has no end" in said[0]
    assert (tmp_path / "{{taskid").read_text() == "hi\n"


@pytest.mark.parametrize("name", ["out", "{{taskid}}"])
def test_an_output_file_that_cannot_be_opened_fails_the_job(jobs: Jobs, name: str) -> None:
    options = {"output": {"stdout": {"type": "file", "path": f"/nonexistent/{name}"}}}
    job, codes = jobs.run(["true"], options=options)
    assert codes == [1]
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert note.startswith("output: shell_init: opening output file /nonexistent/")


def test_kill_event_signals_the_tasks(jobs: Jobs) -> None:
    job = jobs.start(["sleep", "1000"], [2])
    job.wait_event("shell.start")
    job.kill(signal.SIGTERM)
    assert job.wait() == [143]


def test_sigterm_to_the_shell_is_passed_on(jobs: Jobs) -> None:
    job = jobs.start(["sleep", "1000"])
    job.wait_event("shell.start")
    jobs.handle.rpc("rexec.kill", {"pid": job.pids[0], "signum": signal.SIGTERM}).get()
    assert job.wait() == [143]


def test_tasks_do_not_outlive_a_shell_that_was_killed(jobs: Jobs) -> None:
    job = jobs.start(["sh", "-c", "echo $$; exec sleep 1000"])
    job.wait_event("shell.start")
    wait_for(job.has_output)
    pid = int(job.output()["0"])
    os.kill(job.pids[0], signal.SIGKILL)
    assert job.wait() == [-9]
    wait_for(lambda: not runs(pid))


def test_requests_of_an_unknown_method(jobs: Jobs) -> None:
    job = jobs.start(["cat"])
    service = job.wait_event("shell.init")["service"]
    with pytest.raises(FluxError, match="Unknown service method"):
        jobs.handle.rpc(f"{service}.nonsense", nodeid=0).get()
    stdin(jobs, job, "", eof=True)
    assert job.wait() == [0]


def test_exit_on_error_ends_the_other_tasks(jobs: Jobs) -> None:
    script = "[ $FLUX_TASK_RANK = 1 ] && exit 7; exec sleep 1000"
    job, codes = jobs.run(["sh", "-c", script], [2], options={"exit-on-error": 1})
    assert codes == [7]
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert note == f"task 1 (host {os.uname().nodename}) exited with code 7 and exit-on-error is set"


def test_exit_timeout(jobs: Jobs) -> None:
    script = "[ $FLUX_TASK_RANK = 0 ] && exit 0; exec sleep 1000"
    job, codes = jobs.run(["sh", "-c", script], [2], options={"exit-timeout": "0.1s"})
    assert codes == [137]
    assert "exit-timeout=0.1s" in next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)


def test_exit_timeout_is_over_once_all_tasks_have_exited(jobs: Jobs) -> None:
    options = {"exit-timeout": "2s"}  # as far apart as the two may exit
    job, codes = jobs.run(["sh", "-c", "(sleep 2.2; echo late) &"], [2], options=options)
    assert (codes, job.output()) == ([0], {"0": "late\n", "1": "late\n"})


def test_resource_limits_and_expanded_environment(jobs: Jobs) -> None:
    options = {"rlimit": {"nofile": 77}, "env-expand": {"WHO": "{{id.dec}}-{{taskid}}"}}
    job, _ = jobs.run(["sh", "-c", "ulimit -n; echo $WHO"], [2], options=options)
    assert job.output() == {rank: f"77\n{job.id}-{rank}\n" for rank in "01"}


def test_per_task_affinity(jobs: Jobs) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU")
    script = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    job, _ = jobs.run(script, [2], options={"cpu-affinity": "per-task"})
    assert job.output() == {"0": f"{cpus[0]}\n", "1": f"{cpus[1]}\n"}


@pytest.mark.parametrize(
    "options",
    [
        {"cpu-affinity": "sideways"},
        {"taskmap": {"scheme": "spiral"}},
        {"output": {"stdout": {"type": "carrier-pigeon"}}},
        {"input": {"stdin": {"type": "file", "path": "/nonexistent"}}},
        {"initrc": "/nonexistent.lua"},
    ],
)
def test_bad_options_fail_the_job_and_are_named(jobs: Jobs, options: dict[str, Any]) -> None:
    job, codes = jobs.run(["true"], options=options)
    assert codes == [1]
    note = next(e["note"] for e in jobs.exceptions() if e["id"] == job.id)
    assert any(word in note for word in ("sideways", "spiral", "carrier-pigeon", "/nonexistent"))


def test_tasks_end_with_their_broker() -> None:
    with Instance(args=[f"--plugins={COMPOSITION}"]) as instance:
        jobs = Jobs(instance)
        job = jobs.start(["sh", "-c", "echo $$; exec sleep 1000"])
        wait_for(job.has_output)
        pid = int(job.output()["0"])
        os.kill(instance.broker_pid(0), signal.SIGKILL)
        wait_for(lambda: not runs(pid))
        wait_for(lambda: not runs(job.pids[0]))
