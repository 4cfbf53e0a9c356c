"""Options of the builtin shell plugins: affinity, GPUs, limits, maps, MPI environment, warnings (flux-shell(1))."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from shell_jobs import Jobs

from flux_shell.cgroup import Cgroup
from flux_shell.cpusets import parse, parse_map, share

CPUS = sorted(os.sched_getaffinity(0))
SHOW_CPUS = [sys.executable, "-c", "import os; print(*sorted(os.sched_getaffinity(0)))"]
two_cpus = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU")


def note(jobs: Jobs, jobid: int) -> str:
    return next(str(e["note"]) for e in jobs.exceptions() if e["id"] == jobid)


def logged(job: Any) -> str:
    """What the shells have logged, wherever it went."""
    events = [e.context["message"] for e in job.eventlog("output") if e.name == "log"]
    return "\n".join([*events, job.stderr])


# -- sets


@pytest.mark.parametrize(
    ("text", "ids"),
    [("3", [3]), ("0-1,4", [0, 1, 4]), ("0x13", [0, 1, 4]), ("0x1,0x00000002", [1, 32]), ("0x1,,0x1", [0, 64])],
)
def test_lists_masks_and_bitmaps_are_sets(text: str, ids: list[int]) -> None:
    assert parse(text) == ids


@pytest.mark.parametrize("text", ["", "x", "0x", "0x0", "1-", "0xg", ";", "0;x"])
def test_what_is_no_set_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="cpuset"):
        parse_map(text)


def test_tasks_share_evenly() -> None:
    assert [share(range(5), i, 2) for i in range(2)] == [[0, 1, 2], [3, 4]]
    assert [share([7, 9], i, 3) for i in range(3)] == [[7], [9], [7]]
    assert share([], 0, 2) == []


# -- affinity


def test_tasks_stay_on_the_cores_of_the_job(jobs: Jobs) -> None:
    job, _ = jobs.run(SHOW_CPUS, [1])
    assert job.output() == {"0": f"{CPUS[0]}\n"}


def test_affinity_off(jobs: Jobs) -> None:
    job, _ = jobs.run(SHOW_CPUS, [1], options={"cpu-affinity": "off"})
    assert job.output() == {"0": " ".join(map(str, CPUS)) + "\n"}


@two_cpus
def test_affinity_map_binds_one_task_after_another(jobs: Jobs) -> None:
    chosen = f"map:{CPUS[1]};{hex(1 << CPUS[0])}"
    job, _ = jobs.run(SHOW_CPUS, [2], options={"cpu-affinity": chosen})
    assert job.output() == {"0": f"{CPUS[1]}\n", "1": f"{CPUS[0]}\n"}


@two_cpus
def test_dry_run_says_what_it_would_do(jobs: Jobs) -> None:
    job, codes = jobs.run(SHOW_CPUS, [2], options={"cpu-affinity": "dry-run,per-task"})
    assert codes == [0]
    assert job.output()["0"] == " ".join(map(str, CPUS)) + "\n"
    assert f"cpus: {CPUS[0]}" in logged(job)
    assert f"task 1: cpus: {CPUS[1]}" in logged(job)


def test_cores_that_are_not_there_leave_tasks_unbound(jobs: Jobs) -> None:
    job, codes = jobs.run(["true"], [len(CPUS) + 1], options={"cpu-affinity": {"verbose": True}})
    assert codes == [0]
    assert "not bound" in logged(job)


@pytest.mark.parametrize(
    ("option", "seen"),
    [("map:0,3;0x6", ["0,3", "1,2"]), ("per-task", ["-1", "-1"]), ("on", ["-1", "-1"]), ("off", ["", ""])],
)
def test_gpus_that_tasks_see(jobs: Jobs, option: str, seen: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"]}
    script = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    job, _ = jobs.run(script, [2], options={"gpu-affinity": option}, environment=environment)
    assert job.output() == {str(rank): f"{text}\n" for rank, text in enumerate(seen)}


# -- the other options


def test_oom_adjust(jobs: Jobs) -> None:
    job = jobs.start(["sh", "-c", "read line; cat /proc/$$/oom_score_adj"], options={"oom": {"adjust": 500}})
    io = {"stream": "stdin", "rank": "all", "data": "go\n", "eof": True}
    job.wait_event("shell.start")
    jobs.handle.rpc(f"{job.wait_event('shell.init')['service']}.stdin", io, nodeid=0).get()
    job.wait()
    assert job.output() == {"0": "500\n"}


def test_sysmon_reports_or_says_what_is_missing(jobs: Jobs) -> None:
    job, codes = jobs.run(["true"], options={"sysmon": 1})
    assert codes == [0]
    assert "loadavg-overall=" in logged(job) or "no cpu.stat" in logged(job)
    assert "memory.peak" in logged(job)


def test_hostfile_orders_tasks_by_its_lines(jobs: Jobs, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("node0\n\nnode0\n")
    taskmap = {"scheme": "hostfile", "value": hosts.name}  # relative to the job's working directory
    job, codes = jobs.run(["true"], [2], options={"taskmap": taskmap}, cwd=str(tmp_path))
    assert codes == [0]
    start = next(event for event in job.eventlog("exec.eventlog") if event.name == "shell.start")
    assert start.context["taskmap"]["map"] == [[0, 1, 2, 1]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("spectrum", {"OMPI_COMM_WORLD_RANK": "1", "OMPI_MCA_pml": "yalla", "OMPI_KEEP": None}),
        ("mvapich", {"MPIRUN_RANK": "1", "MPIRUN_NTASKS": "2", "OMPI_KEEP": "1"}),
        ("intel@2021", {"I_MPI_PMI_LIBRARY": None, "OMPI_KEEP": "1"}),
        ("none", {"OMPI_MCA_btl_vader_backing_directory": None, "I_MPI_PMI_LIBRARY": "/x.so"}),
    ],
)
def test_mpi_personalities(jobs: Jobs, name: str, variables: dict[str, str | None]) -> None:
    environment = {"PATH": os.environ["PATH"], "OMPI_KEEP": "1", "I_MPI_PMI_LIBRARY": "/x.so"}
    job, _ = jobs.run(["/usr/bin/env"], [2], options={"mpi": name}, environment=environment)
    env = dict(line.split("=", 1) for line in job.output()["1"].splitlines() if "=" in line)
    assert {key: env.get(key) for key in variables} == variables


@pytest.mark.parametrize("options", [{}, {"mpi": "spectrum"}])
def test_shared_memory_of_open_mpi_is_in_the_directory_of_the_job(jobs: Jobs, options: dict[str, Any]) -> None:
    script = 'test "$OMPI_MCA_btl_vader_backing_directory" = "$FLUX_JOB_TMPDIR" && echo same'
    job, _ = jobs.run(["sh", "-c", script], options=options)
    assert job.output() == {"0": "same\n"}


@pytest.mark.parametrize("pmi", ["off", "none", "pmix"])
def test_pmi_off_offers_none(jobs: Jobs, pmi: str) -> None:
    job, _ = jobs.run(["sh", "-c", "echo fd=$PMI_FD"], options={"pmi": pmi}, environment={"PATH": os.environ["PATH"]})
    assert job.output() == {"0": "fd=\n"}


def test_pmi_by_its_other_names(jobs: Jobs) -> None:
    job, _ = jobs.run(["sh", "-c", "echo $PMI_RANK"], options={"pmi": "pmix,pmi2"})
    assert job.output() == {"0": "0\n"}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cpu-affinity": "map:0;x"}, "'x'"),
        ({"gpu-affinity": "spread"}, "spread"),
        ({"oom": {"adjust": 2000}}, "2000"),
        ({"sysmon": {"period": "soon"}}, "soon"),
        ({"signal": {"signum": 999}}, "999"),
        ({"signal": {"timeleft": "later"}}, "later"),
        ({"pmi-simple": {"exchange": {"k": -1}}}, "exchange.k=-1"),
        ({"pmi-simple": {"tree": 1}}, "tree"),
        ({"input": {"batch-timeout": "x"}}, "input.batch-timeout"),
        ({"input": {"stdin": {"type": "file"}}}, "input.stdin.path"),
        ({"output": {"batch-timeout": -1}}, "output.batch-timeout"),
        ({"rlimit": {"coffee": 1}}, "coffee"),
        ({"rlimit": {"nofile": "many"}}, "many"),
        ({"taskmap": {"scheme": "hostfile", "value": "/nonexistent"}}, "/nonexistent"),
        ({"taskmap": {"scheme": "cyclic", "value": "wide"}}, "wide"),
        # of the wrong shape
        ({"output": 5}, "option output=5: an object was expected, such as output.stdout.type=kvs"),
        ({"output": {"stdout": "foo"}}, "option output.stdout=foo: an object"),
        ({"output": {"stderr": {"buffer": "x"}}}, "output.stderr.buffer=x: an object"),
        ({"input": "foo"}, "option input=foo: an object"),
        ({"input": {"stdin": "foo"}}, "option input.stdin=foo: an object"),
        ({"rexec": 5}, "option rexec=5: an object"),
        ({"rlimit": 5}, "option rlimit=5: an object"),
        # with a key that is not known
        ({"rexec": {"sgn-required": 1}}, "rexec.sgn-required: did you mean rexec.sign-required?"),
        ({"pmi-simple": {"exchange": {"kk": 2}}}, "did you mean pmi-simple.exchange.k?"),
        ({"pmi": {"exchange": {"foo": 2}}}, "exchange takes k"),
        ({"pmi": {"nomp": 1}}, "did you mean pmi.nomap?"),
        ({"signal": {"timelft": "5s"}}, "did you mean signal.timeleft?"),
        ({"oom": {"adjst": 5}}, "did you mean oom.adjust?"),
        ({"sysmon": {"perod": 5}}, "did you mean sysmon.period?"),
        ({"stage-in": {"nmes": "a"}}, "did you mean stage-in.names?"),
        ({"pty": {"rnks": "0"}}, "did you mean pty.ranks?"),
        # of the wrong type
        ({"signal": {"signum": 1.7}}, "signal.signum=1.7"),
        ({"signal": {"signum": None}}, "signal.signum=None: the number of a signal"),
        ({"signal": {"signum": [1]}}, "signal.signum=[1]: the number of a signal"),
        ({"env-expand": {"A": None}}, "env-expand.A=None"),
        ({"env-expand": {"A": {"b": 1}}}, "env-expand.A={'b': 1}"),
        ({"rlimit": {"core": True}}, "rlimit.core=True"),
        ({"rlimit": {"cpu": 10**23 - 1}}, "rlimit.cpu=99999999999999999999999: a number of at most"),
        ({"oom": {"adjust": True}}, "oom.adjust=True"),
        ({"cpu-affinity": 0}, "cpu-affinity=0"),
        ({"gpu-affinity": 0}, "gpu-affinity=0"),
    ],
)
def test_a_bad_option_ends_the_job_and_is_named(jobs: Jobs, options: dict[str, Any], word: str) -> None:
    job, codes = jobs.run(["true"], options=options)
    assert codes == [1]
    assert word in note(jobs, job.id)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": {"stdot": {"type": "kvs"}}}, "did you mean output.stdout?"),
        ({"output": {"stdout": {"typ": "file"}}}, "did you mean output.stdout.type?"),
        ({"output": {"stdout": {"buffer": {"typ": "none"}}}}, "did you mean output.stdout.buffer.type?"),
        ({"output": {"mod": "append"}}, "did you mean output.mode?"),
        ({"input": {"lmit": 5}}, "did you mean input.limit?"),
        ({"input": {"stdin": {"pth": "x"}}}, "did you mean input.stdin.path?"),
    ],
)
def test_an_unknown_key_of_output_or_input_is_told_and_the_job_runs(
    jobs: Jobs, options: dict[str, Any], text: str
) -> None:
    job, codes = jobs.run(["echo", "ran"], options=options)
    assert (codes, job.output()) == ([0], {"0": "ran\n"})
    assert text in logged(job)


# -- control groups


def test_numbers_of_a_control_group(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("4:pids:/old\n0::/job/1\n")
    group = tmp_path / "job" / "1"
    group.mkdir(parents=True)
    (group / "memory.peak").write_text("4096\n")
    (group / "memory.max").write_text("max\n")
    (group / "memory.events").write_text("oom 3\noom_kill 2\n")
    cgroup = Cgroup(str(tmp_path), str(tmp_path / "own"))
    assert (cgroup.number("memory.peak"), cgroup.number("memory.max"), cgroup.number("cpu.x")) == (4096, None, None)
    assert (cgroup.value("memory.events", "oom_kill"), cgroup.value("memory.events", "low")) == (2, None)
    (tmp_path / "unified" / "job" / "1").mkdir(parents=True)
    (tmp_path / "unified" / "job" / "1" / "memory.peak").write_text("8192\n")
    assert Cgroup(str(tmp_path), str(tmp_path / "own")).number("memory.peak") == 8192


def test_numbers_of_a_control_group_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("9:name=systemd:/\n4:memory:/job/1\n0::/\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 7\n")
    group = tmp_path / "memory" / "job" / "1"
    group.mkdir(parents=True)
    (group / "memory.max_usage_in_bytes").write_text("4096\n")
    (group / "memory.usage_in_bytes").write_text("1024\n")
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    cgroup = Cgroup(str(tmp_path), str(tmp_path / "own"))
    assert (cgroup.number("memory.peak"), cgroup.number("memory.current")) == (4096, 1024)
    assert (cgroup.value("memory.events", "oom_kill"), cgroup.value("cpu.stat", "usage_usec")) == (2, 7)
