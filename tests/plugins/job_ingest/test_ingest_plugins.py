"""Validators and frobnicators of an instance, as its administrator configures them (flux-config-ingest(5))."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance

SITE = """
import os, threading

class Site:
    def validate(self, job):
        name = job.jobspec["attributes"]["system"].get("job", {}).get("name")
        if name == "refused":
            return (1, "a bad name")
        if name == "hangs":
            threading.Event().wait()
        if name == "dies":
            os._exit(3)
"""

FROB = """
class Bank:
    def frob(self, jobspec, userid, urgency, flags):
        jobspec.setattr("system.bank", f"of-{userid}")
"""


class Site:
    """An instance whose configuration is changed as it runs."""

    def __init__(self, running: Instance, folder: Path) -> None:
        self.running = running
        self._file = folder / "site.toml"

    def configure(self, toml: str) -> str:
        self._file.write_text(toml)
        return self.running.run("flux", "config", "load", str(self._file), timeout=60).stderr

    def submit(self, *argv: str) -> tuple[str, str]:
        done = self.running.run("flux", "submit", *argv, "true", timeout=120)
        return done.stdout.strip(), done.stderr.strip()

    def refusal(self, *argv: str) -> str:
        jobid, error = self.submit(*argv)
        assert jobid == ""
        return error.removeprefix("flux-submit: ")

    def jobspec(self, *argv: str) -> dict[str, Any]:
        jobid, error = self.submit("--urgency=hold", *argv)
        assert jobid, error
        found: dict[str, Any] = json.loads(self.running.run("flux", "job", "info", jobid, "jobspec").stdout)
        self.running.run("flux", "cancel", jobid)
        return found

    def stats(self) -> dict[str, Any]:
        shown = json.loads(self.running.run("flux", "module", "stats", "job-ingest").stdout)
        found: dict[str, Any] = shown["pipeline"]["validator"]
        return found


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance(1, timeout=120) as instance:
        yield instance


@pytest.fixture
def site(running: Instance, tmp_path: Path) -> Iterator[Site]:
    site = Site(running, tmp_path)
    yield site
    site.configure("")


def test_a_job_that_could_never_run_is_refused(site: Site) -> None:
    assert site.submit("-n999", "--urgency=hold")[0]
    site.configure('[ingest.validator]\nplugins = ["jobspec", "feasibility"]')
    assert "unsatisfiable" in site.refusal("-n999")
    assert site.submit()[0]


def test_large_jobs_have_to_be_instances(site: Site) -> None:
    site.configure('[ingest.validator]\nplugins = ["jobspec", "require-instance"]\nrequire-instance.mincores = 2')
    assert site.submit()[0]
    assert "Direct job submission disabled for jobs >= 2 cores" in site.refusal("-n2")
    assert site.running.run("flux", "batch", "-n2", "--wrap", "--output=none", "true").returncode == 0
    site.configure('[ingest.validator]\nplugins = ["require-instance"]\nargs = ["--require-instance-mincores=9"]')
    assert site.submit("-n2")[0]


def test_a_validator_of_the_site_runs_apart_from_the_broker(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(SITE)
    site.configure(f'[ingest.validator]\nplugins = ["jobspec", "{tmp_path}/site.py"]')
    before = site.stats()
    assert site.submit()[0]
    assert site.refusal("--job-name=refused") == "a bad name"
    assert site.refusal("--job-name=dies") == "job-validator ended with exit code 3"
    assert site.submit()[0]
    assert [site.stats()[name] - before[name] for name in ("requests", "errors")] == [4, 2]


def test_a_validator_that_hangs_costs_its_job_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text(SITE)
    site.configure(f'[ingest.validator]\nplugins = ["{tmp_path}/site.py"]\ntimeout = "2s"')
    assert site.refusal("--job-name=hangs") == "job-validator gave no answer within 2s"
    site.configure(f'[ingest.validator]\nplugins = ["{tmp_path}/site.py"]')
    assert site.submit()[0]


def test_a_validator_that_cannot_be_loaded_refuses_jobs_with_the_reason(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text("import nosuchmodule\n")
    site.configure(f'[ingest.validator]\nplugins = ["{tmp_path}/site.py"]')
    assert "nosuchmodule" in site.refusal()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('plugins = ["require-instanc"]', 'did you mean "require-instance"?'),
        ('plugins = "jobspec"', "ingest.validator.plugins must be of type list"),
        ('args = ["--nosuch"]', "--nosuch"),
        ('timeout = "soon"', "ingest.validator.timeout"),
        ("disable = 1", "ingest.validator.disable must be of type bool"),
    ],
)
def test_a_wrong_configuration_is_refused(site: Site, toml: str, message: str) -> None:
    assert message in site.configure(f"[ingest.validator]\n{toml}")
    assert site.submit()[0]


def test_defaults_and_constraints_of_queues(site: Site) -> None:
    site.configure(
        "[policy.jobspec.defaults.system]\n"
        'queue = "batch"\nduration = "10m"\nbank = "b"\n'
        '[queues.batch]\n[queues.debug]\nrequires = ["fast"]\npolicy.jobspec.defaults.system.duration = "1h"\n'
    )
    system = site.jobspec()["attributes"]["system"]
    assert (system["queue"], system["duration"], system["bank"]) == ("batch", 600.0, "b")
    assert site.jobspec("-t2m", "-Bmine")["attributes"]["system"]["duration"] == 120.0
    debug = site.jobspec("-qdebug", "--requires=rank:0")["attributes"]["system"]
    assert debug["duration"] == 3600.0
    assert debug["constraints"] == {"and": [{"ranks": ["0"]}, {"properties": ["fast"]}]}
    assert "Invalid queue 'nosuch'" in site.refusal("-qnosuch")
    assert "must be in [queues]" in site.configure('[policy.jobspec.defaults.system]\nqueue = "no"\n[queues.a]')


def test_hosts_that_the_instance_does_not_have_are_refused(site: Site, tmp_path: Path) -> None:
    site.configure("")
    own = site.running.run("flux", "getattr", "hostlist").stdout.strip()
    for wrong in ("--requires=hosts:no1,no[2-3]", "--requires=-host:no[1-3]", "--requires=fast or (not host:no[1-3])"):
        assert "this instance has no host 'no[1-3]'" in site.refusal(wrong)
    assert site.jobspec(f"--requires=-host:{own}")
    assert site.submit("--urgency=hold", "--flags=novalidate", "--requires=host:no1")[0]
    (tmp_path / "site.py").write_text(SITE)
    site.configure(f'[ingest.validator]\nplugins = ["{tmp_path}/site.py"]')
    assert "no host 'no1'" in site.refusal(f"--requires=host:{own},no1")
    site.configure("[resource]\nnoverify = true")
    assert site.jobspec("--requires=host:no1")


def test_a_frobnicator_of_the_site_changes_jobs(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(FROB)
    site.configure(f'[ingest.frobnicator]\nplugins = ["{tmp_path}/bank.py"]')
    assert site.jobspec()["attributes"]["system"]["bank"].startswith("of-")


def test_commands_take_lines_of_jobs(site: Site) -> None:
    jobspec = site.running.run("flux", "run", "--dry-run", "true").stdout
    job = json.dumps({"jobspec": {}, "userid": 1, "urgency": 16, "flags": 0})
    done = site.running.run("flux", "job-validator", input=f"{job}\n")
    assert json.loads(done.stdout) == {"errnum": 22, "errstr": "Missing key (attributes)"}
    assert site.running.run("flux", "job-validator", "--jobspec-only", input=jobspec).stdout == '{"errnum": 0}\n'
    assert "--jobspec-only" in site.running.run("flux", "job-validator", input=jobspec).stderr
    changed = json.loads(site.running.run("flux", "job-frobnicator", "--jobspec-only", input=jobspec).stdout)
    assert changed == {"errnum": 0, "data": json.loads(jobspec)}
    assert "feasibility" in site.running.run("flux", "job-validator", "--list-plugins").stdout
