"""`flux jobs`: formats, filters, order, nested instances, named formats of a site (flux-jobs(1))."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from flux.job.Jobspec import JobspecV1
from flux.job.list import PAGE, JobList, job_list
from flux.job.submit import submit_async
from flux.testing import Instance, wait_for

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


@pytest.fixture(scope="module")
def jobs(instance: Instance) -> dict[str, str]:
    """Id by kind of job: one held, one that waits for its time, one that failed, one that was canceled."""
    asked = {
        "failed": ("--job-name=one", "sh", "-c", "exit 3"),
        "held": ("--urgency=0", "--job-name=two", "sleep", "60"),
        "later": ("--begin-time=+1h", "--job-name=three-with-a-long-name", "true"),
        "canceled": ("--urgency=0", "--job-name=four", "true"),
    }
    ids = {}
    for kind, words in asked.items():
        found = instance.run("flux", "submit", *words)
        assert found.returncode == 0, found.stderr
        ids[kind] = found.stdout.strip()
    assert instance.run("flux", "cancel", "-m", "no need", ids["canceled"]).returncode == 0
    for kind in ("failed", "canceled"):
        assert instance.run("flux", "job", "wait-event", "-t30", ids[kind], "clean").returncode == 0
    wait_for(lambda: len(instance.run("flux", "jobs", "-ano", "{result}").stdout.split()) == 2)
    return ids


@pytest.fixture
def run(instance: Instance, jobs: dict[str, str]) -> Run:
    return lambda *words, **options: instance.run("flux", "jobs", *words, **options)


def shown(found: CompletedProcess[str]) -> list[str]:
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_pending_jobs_say_what_they_wait_for(run: Run) -> None:
    held, later = shown(run("-no", "sort:name {name:<5.5+}|{status_abbrev}|{urgency}|{contextual_info:.12}"))[::-1]
    assert held == "two  |S|0|held"
    assert later == "thre+|D|16|depends:begi"


def test_inactive_jobs_say_how_they_ended(run: Run) -> None:
    assert sorted(shown(run("-fcanceled,failed", "-no", "{name}|{inactive_reason}|{returncode}|{status}"))) == [
        "four|Canceled: no need|-128|CANCELED",
        "one|Exit 3|3|FAILED",
    ]


def test_the_default_has_a_queue_column_only_when_there_are_queues(run: Run) -> None:
    heading = shown(run("-a"))[0]
    assert heading.split() == ["JOBID", "USER", "NAME", "ST", "NTASKS", "NNODES", "TIME", "INFO"]
    assert "QUEUE" in shown(run("-ao", "{id} {queue}"))[0]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("-a", "--sort=-name"), ["two", "three-with-a-long-name", "one", "four"]),
        (("-a", "--name=one"), ["one"]),
        (("-i0",), []),
        (("-ai0",), ["one"]),
        (("-ai", "no-such-host"), []),
        (("--since=-1h", "--sort=name"), ["four", "one", "three-with-a-long-name", "two"]),
        (("-A", "--sort=name"), ["three-with-a-long-name", "two"]),
    ],
)
def test_selection_and_order(run: Run, words: tuple[str, ...], names: list[str]) -> None:
    assert shown(run(*words, "-no", "{name}")) == names


def test_lines_are_cut_at_a_width(run: Run) -> None:
    assert all(len(line) == 20 and line.endswith("+") for line in shown(run("-a", "-w", "20")))


def test_a_list_that_is_not_whole_says_so(run: Run) -> None:
    found = run("-a", "-c2")
    assert len(shown(found)) == 3
    assert "truncated at 2 jobs" in found.stderr
    assert run("-na", "-c2").stderr == ""


@pytest.fixture(scope="module")
def long_list() -> Iterator[Instance]:
    """An instance with more jobs than two pages hold, the last of them with the longest name."""
    with Instance(1) as instance:
        handle = instance.handle()
        jobspec = JobspecV1.from_command(["true"])
        jobspec.setattr("system.job.name", "n")
        futures = [submit_async(handle, jobspec, urgency=0) for _ in range(2 * PAGE + 99)]
        jobspec.setattr("system.job.name", "name-of-the-last-one")
        futures.append(submit_async(handle, jobspec, urgency=0))
        for future in futures:
            future.get_id()
        wait_for(lambda: handle.rpc("job-list.job-stats").get()["job_states"]["sched"] == len(futures))
        yield instance


def test_a_long_list_comes_in_pages(long_list: Instance) -> None:
    """The same jobs in the same order as in one piece, and columns that fit also what is in the last page."""
    handle = long_list.handle()
    ids = [str(job["id"]) for job in job_list(handle, max_entries=0, attrs=["state"]).get_jobs()]
    count = len(ids)
    assert count == 2 * PAGE + 100

    def run(*words: str) -> CompletedProcess[str]:
        return long_list.run("flux", "jobs", *words)

    header, *lines = shown(run("-c0", "-o", "+:{name:>2}|{id.dec}?:{queue}"))
    assert header == f"{'NAME':>20}|JOBID" and {line.index("|") for line in lines} == {20}
    assert [line.split("|")[1] for line in lines] == ids
    assert [str(job["id"]) for job in json.loads(run("-c0", "--json").stdout)["jobs"]] == ids
    cut = run(f"-c{count - 1}", "-o", "{id.dec}")
    assert shown(cut)[1:] == ids[:-1] and f"truncated at {count - 1} jobs" in cut.stderr
    assert shown(run("-c0", "-no{id.dec}", "--filter=inactive")) == []
    assert json.loads(run("-c0", "--json", "--filter=inactive").stdout) == {"jobs": []}
    pages = list(JobList(handle, attrs=["state"], max_entries=0).pages(count // 2))
    assert [str(int(job.id)) for page in pages for job in page] == ids and len(pages) == 3


def test_colours_on_demand(run: Run) -> None:
    assert "\033[01;31m" in run("-a", "--color=always").stdout
    assert "\033" not in run("-a").stdout


def test_statistics(run: Run) -> None:
    line = "0 running, 0 completed, 2 failed, 2 pending, 0 inactive purged"
    assert shown(run("--stats-only")) == [line]
    assert shown(run("--stats", "-n"))[0] == line
    assert "no stats available for queue nope" in run("--stats-only", "-qnope").stderr


def test_json_of_one_job_has_what_is_known(run: Run, jobs: dict[str, str]) -> None:
    record = json.loads(run("--json", jobs["canceled"]).stdout)
    assert record["jobid"] == jobs["canceled"]
    assert record["exception"] == {"occurred": True, "severity": 0, "type": "cancel", "note": "no need"}
    assert not {"t_run", "runtime", "waitstatus"} & record.keys()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("-o", "{nnode}"), "Error in user format: Unknown format field: nnode, did you mean 'nnodes'?"),
        (("-o", "nope"), "--format: No such format nope (Did you mean '{nope}'?)"),
        (("--sort=nope",), "Invalid sort key: nope"),
        (("-fdone",), "there is no job state or result 'done'"),
        (("-unobody-here",), "there is no user 'nobody-here'"),
        (("--since=+1h",), "appears to be in the future"),
        (("-i", "[1-"), "-i/--include: invalid targets"),
        (("--json", "--stats"), "--json incompatible with --stats"),
        (("f1234",), "f1234: unknown job id"),
        (("-c-1",), "-c/--count: -1 is less than 0"),
        (("-ano", "{name!P}"), "cannot show a value: could not convert string to float"),
    ],
)
def test_wrong_requests_are_refused(run: Run, words: tuple[str, ...], error: str) -> None:
    found = run(*words)
    assert (found.returncode, found.stdout) == (1, "")
    assert error in found.stderr


def test_named_formats_of_site_and_user(run: Run, tmp_path: Path) -> None:
    files = {"site/flux/flux-jobs.yaml": "formats: {mine: {format: 'site {name}'}}"}
    files["home/flux/flux-jobs.toml"] = "formats.mine.format = 'user {name}'"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    both = {"XDG_CONFIG_DIRS": str(tmp_path / "site"), "XDG_CONFIG_HOME": str(tmp_path / "home")}
    assert shown(run("-no", "mine", "--name=two", env=both)) == ["user two"]
    assert shown(run("-n", "--name=two", env={**both, "FLUX_JOBS_FORMAT_DEFAULT": "mine"})) == ["user two"]
    assert "mine" in run("-ohelp", env=both).stdout
    assert "[formats.deps]\n" in run("-oget-config=deps").stdout
    (tmp_path / "home/flux/flux-jobs.toml").write_text("formats.long.format='{name}'")
    assert "override of builtin format 'long' not permitted" in run("-omine", env=both).stderr


@pytest.fixture
def parent() -> Iterator[Instance]:
    """An instance with no other jobs."""
    with Instance(1) as instance:
        yield instance


def test_jobs_of_nested_instances(parent: Instance) -> None:
    def run(*words: str) -> CompletedProcess[str]:
        return parent.run("flux", "jobs", *words)

    script = "flux submit --urgency=0 --job-name=inner true; sleep 300"
    batch = parent.run("flux", "batch", "-n1", "--output=/dev/null", "--wrap", script)
    assert batch.returncode == 0, batch.stderr
    jobid = batch.stdout.strip()

    def nested() -> Any:
        found = json.loads(run("-R", "--json", jobid).stdout)
        return found.get("jobs")

    wait_for(nested, timeout=60)
    assert shown(run("-Rno", "{name}", jobid))[-2:] == [f"{jobid}:", "inner"]
    assert f"{jobid}:" not in shown(run("-RL0", "-no", "{name}", jobid))
    fields = "{instance.stats}|{instance.progress!P}|{instance.utilization!P}|{instance.resources.all.ncores}"
    assert shown(run("-no", fields, jobid)) == ["PD:1 R:0 CD:0 F:0|0%|0%|1"]
    assert parent.run("flux", "cancel", jobid).returncode == 0
    assert parent.run("flux", "job", "wait-event", "-t60", jobid, "clean").returncode == 0
