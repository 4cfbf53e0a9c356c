"""`flux jobtap test` says which recorded jobs a policy would have treated differently."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from flux.job import JobspecV1

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
POLICY = """
from flux.hooks.jobtap import hookimpl, reject

class Policy:
    @hookimpl
    def plugin_load(self, manager, options):
        self.manager, self.limit = manager, options.get("limit", 60)

    @hookimpl
    def job_validate(self, job):
        print("asked")
        if job.jobspec.duration > self.limit:
            reject(f"no more than {self.limit}s")

    @hookimpl
    def job_state_depend(self, job):
        if job.urgency == 10:
            job.dependency_add("tape")
            self.manager.call_later(5, lambda: job.dependency_remove("tape"))

    @hookimpl
    def job_state_priority(self, job):
        return job.urgency + (100 if job.urgency == 20 else 0)
"""


def recorded(number: int, urgency: int, duration: float) -> dict[str, Any]:
    jobspec = JobspecV1.from_command(["true"])
    jobspec.duration = duration
    start = 1000.0 + number
    events = [
        ("submit", {"userid": 1, "urgency": urgency, "flags": 0, "version": 1}),
        ("validate", None),
        ("depend", None),
        ("priority", {"priority": urgency}),
        ("alloc", None),
        ("start", None),
        ("finish", {"status": 0}),
        ("release", {"ranks": "all", "final": True}),
        ("free", None),
        ("clean", None),
    ]
    entries = [
        {"timestamp": start + n, "name": name, **({"context": context} if context else {})}
        for n, (name, context) in enumerate(events)
    ]
    return {"id": number, "jobspec": jobspec.jobspec, "events": entries}


JOBS = [recorded(1, 16, 30.0), recorded(2, 16, 90.0), recorded(3, 10, 30.0), recorded(4, 20, 30.0)]


def replay(folder: Path, journal: Path, *words: str) -> subprocess.CompletedProcess[str]:
    policy = folder / "policy.py"
    if not policy.exists():
        policy.write_text(POLICY)
    command = [FLUX, "jobtap", "test", str(policy), str(journal), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def journal(folder: Path, jobs: list[dict[str, Any]] = JOBS) -> Path:
    file = folder / "journal"
    file.write_text("".join(f"{json.dumps(job)}\n" for job in jobs))
    return file


def differences(result: subprocess.CompletedProcess[str]) -> dict[int, list[str]]:
    answer = json.loads(result.stdout)
    return {job["id"]: [item["text"] for item in job["differences"]] for job in answer["outcomes"]}


EXPECTED = {
    1: [],
    2: ["refused: no more than 60s"],
    3: ["held for tape", "let go from tape"],
    4: ["given priority 120 instead of 20"],
}


def test_each_job_is_told_what_would_have_been_different(tmp_path: Path) -> None:
    result = replay(tmp_path, journal(tmp_path), "--json")
    assert differences(result) == EXPECTED
    text = replay(tmp_path, journal(tmp_path)).stdout.splitlines()
    assert text[-1] == "3 of 4 jobs would have fared differently"
    assert text[0].endswith("  refused: no more than 60s") and len(text) == 4


def test_the_policy_is_configured_as_it_would_be_when_loaded(tmp_path: Path) -> None:
    result = replay(tmp_path, journal(tmp_path), "limit=100", "--json")
    assert differences(result)[2] == []


def test_a_job_archive_can_be_replayed(tmp_path: Path) -> None:
    archive = tmp_path / "jobs.sqlite"
    with sqlite3.connect(archive) as database:
        database.execute("CREATE TABLE jobs(id CHAR(16) PRIMARY KEY, eventlog TEXT, jobspec TEXT, R TEXT)")
        for job in JOBS:
            log = "".join(f"{json.dumps(event)}\n" for event in job["events"])
            database.execute("INSERT INTO jobs VALUES (?, ?, ?, '')", (str(job["id"]), log, json.dumps(job["jobspec"])))
    database.close()
    assert differences(replay(tmp_path, archive, "--json")) == EXPECTED


def test_a_mistake_in_the_policy_is_a_difference_and_a_crash_an_error(tmp_path: Path) -> None:
    policy = tmp_path / "policy.py"
    policy.write_text("from flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_state_run(job): 1 / 0\n")
    assert differences(replay(tmp_path, journal(tmp_path), "--json"))[1] == ["failed: job_state_run: division by zero"]
    policy.write_text("import os\nfrom flux.hooks.jobtap import hookimpl\n@hookimpl\ndef job_new(job): os._exit(7)\n")
    result = replay(tmp_path, journal(tmp_path))
    assert (result.returncode, result.stderr) == (
        1,
        "flux-jobtap: the policy ended the process that replays jobs (status 7)\n",
    )


def test_what_is_no_record_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "nothing"
    file.write_text("so what\n")
    result = replay(tmp_path, file)
    assert result.returncode == 1 and "is no events journal, job archive or dump" in result.stderr
    assert replay(tmp_path, tmp_path / "none").stderr.endswith("none: No such file or directory\n")
    senseless = [{**JOBS[0], "events": [JOBS[0]["events"][0], JOBS[0]["events"][-1]]}]
    assert "its events make no sense" in replay(tmp_path, journal(tmp_path, senseless)).stderr


def test_a_policy_that_needs_an_instance_is_told_that_there_is_none(tmp_path: Path) -> None:
    result = subprocess.run(
        [FLUX, "jobtap", "test", ".priority-fairshare", str(journal(tmp_path))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    why = "the policy needs manager.flux, and jobs are replayed without an instance"
    assert (result.returncode, result.stderr) == (1, f"flux-jobtap: {why}\n")
