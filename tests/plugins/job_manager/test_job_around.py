"""What is done around jobs on their nodes: prolog, epilog, housekeeping (flux-config-job-manager(5))."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_kit import Jobs

from flux.errors import FluxError
from flux.testing import Instance, wait_for
from flux_plugins.job_manager.housekeeping import read_config as read_housekeeping
from flux_plugins.jobtap.perilog_config import read_config as read_perilog

CONFIG = """
[job-manager]
plugins = [{{ load = "perilog" }}]
[job-manager.prolog]
command = ["sh", "-c", "echo before $FLUX_JOB_RANKS; echo dull; . {0}/prolog"]
per-rank = true
kill-timeout = "{1}"
[job-manager.epilog]
command = ["sh", "-c", ". {0}/epilog"]
[job-manager.perilog]
log-ignore = ["^du+ll"]
[job-manager.housekeeping]
command = ["sh", "-c", ". {0}/housekeeping"]
release-after = "0"
"""


class Site(Jobs):
    """An instance whose scripts a test can change."""

    scripts: Path

    def script(self, name: str, text: str) -> None:
        (self.scripts / name).write_text(text + "\n")

    def configure(self, kill_timeout: str) -> None:
        """Give prologs so long to heed SIGTERM."""
        (self.scripts / "conf.toml").write_text(CONFIG.format(self.scripts, kill_timeout))
        assert self.flux("config", "reload").returncode == 0

    def run(self) -> int:
        found = self.flux("submit", "-N2", "true")
        assert found.returncode == 0, found.stderr
        return int(self.flux("job", "id", "--to=dec", found.stdout.strip()).stdout)

    def context(self, jobid: int, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(event["context"] for event in self.events(jobid) if event["name"] == name)
        return found

    def drained(self) -> dict[str, str]:
        """Ranks and why, of the nodes that are drained, which are taken back into service."""
        drain = {ranks: entry["reason"] for ranks, entry in self.rpc("resource.status")["drain"].items()}
        for ranks in drain:
            self.rpc("resource.undrain", targets=ranks)
        return drain


@pytest.fixture(scope="module")
def site(flux_instance: Callable[..., Instance], tmp_path_factory: Any) -> Site:
    folder = tmp_path_factory.mktemp("site")
    (folder / "conf.toml").write_text(CONFIG.format(folder, "60s"))
    Site.scripts = folder
    for name in ("prolog", "epilog", "housekeeping"):
        (folder / name).write_text("true\n")
    return Site(flux_instance(2, args=[f"--config-path={folder}/conf.toml"]))


@pytest.fixture(autouse=True)
def quiet(site: Site) -> Iterator[None]:
    yield
    for name in ("prolog", "epilog", "housekeeping"):
        site.script(name, "true")
    wait_for(lambda: not running(site), what="the end of housekeeping")


def running(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.rpc("job-manager.stats-get")["housekeeping"]["running"]
    return found


def allocated(site: Site) -> str:
    R = site.rpc("resource.sched-status")["allocated"]
    return ",".join(entry["rank"] for entry in R["execution"]["R_lite"])


def test_a_job_starts_after_its_prolog_and_is_over_after_its_epilog(site: Site) -> None:
    jobid = site.run()
    names = site.names(jobid)
    assert names.index("prolog-start") < names.index("prolog-finish") < names.index("start")
    assert names.index("finish") < names.index("epilog-start") < names.index("epilog-finish") < names.index("free")
    assert site.context(jobid, "prolog-finish") == {"description": "job-manager.prolog", "status": 0}


def test_the_output_of_a_prolog_is_logged_but_for_what_is_ignored(site: Site) -> None:
    site.names(site.run())
    lines = site.flux("dmesg").stdout
    assert "(rank 0): stdout: before 0-1" in lines and "(rank 1): stdout: before 0-1" in lines
    assert "dull" not in lines


def test_a_prolog_that_fails_ends_the_job_and_drains_its_nodes(site: Site) -> None:
    site.script("prolog", "exit 3")
    jobid = site.run()
    names = site.names(jobid)
    assert "start" not in names and names.count("epilog-finish") == 1
    context = site.context(jobid, "exception")
    assert (context["type"], context["severity"]) == ("prolog", 0)
    assert context["note"].startswith("prolog exited with code=3 on ") and context["note"].endswith("(rank 0-1)")
    assert [reason.partition(" for")[0] for reason in site.drained().values()] == ["prolog failed"]


def test_a_job_can_be_canceled_while_its_prolog_runs(site: Site) -> None:
    site.script("prolog", "exec sleep 600")
    jobid = site.run()
    site.wait_event(jobid, "prolog-start")
    site.cancel(jobid)
    assert site.context(jobid, "prolog-finish")["status"] == 15
    assert site.drained() == {}


def test_a_prolog_that_does_not_heed_sigterm_is_left_behind_on_drained_nodes(site: Site) -> None:
    site.script(
        "prolog", f"trap '' TERM; touch {site.scripts}/up-$$; while test -d {site.scripts}/hang; do sleep 0.1; done"
    )
    (site.scripts / "hang").mkdir()
    site.configure(kill_timeout="0.2s")
    jobid = site.run()
    wait_for(lambda: len(list(site.scripts.glob("up-*"))) == 2, what="two prologs")
    site.configure(kill_timeout="60s")  # for those that come
    site.cancel(jobid)
    notes = [event["context"].get("note", "") for event in site.events(jobid) if event["name"] == "exception"]
    (site.scripts / "hang").rmdir()
    assert notes[1].startswith("prolog canceled then timed out on ")
    assert [reason.partition(" for")[0] for reason in site.drained().values()] == ["prolog canceled then timed out"]


def test_a_prolog_runs_again_when_the_job_manager_is_reloaded(site: Site) -> None:
    site.script("prolog", f"echo >> {site.scripts}/runs; while test -d {site.scripts}/wait; do sleep 0.1; done")
    (site.scripts / "wait").mkdir()
    jobid = site.run()
    site.wait_event(jobid, "prolog-start")
    assert site.flux("module", "reload", "job-manager").returncode == 0
    (site.scripts / "wait").rmdir()
    names = site.names(jobid)
    assert names.count("prolog-start") == names.count("prolog-finish") == names.count("start") == 1


def test_an_epilog_that_fails_leaves_the_job_its_result(site: Site) -> None:
    site.script("epilog", "kill -9 $$")
    jobid = site.run()
    context = site.context(jobid, "exception")
    assert (context["type"], context["severity"]) == ("epilog", 2)
    assert context["note"].startswith("epilog killed by signal 9 on ")
    assert site.context(jobid, "finish") == {"status": 0}


def test_jobtap_query_shows_the_configuration_and_what_runs(site: Site) -> None:
    answer = json.loads(site.flux("jobtap", "query", "perilog").stdout)
    assert answer["conf"]["prolog"]["per_rank"] and answer["conf"]["prolog"]["timeout"] == 1800.0
    assert answer["procs"] == {}


def test_nodes_are_kept_from_others_until_their_housekeeping_is_done(site: Site) -> None:
    site.script("housekeeping", "exec sleep 600")
    jobid = site.run()
    assert site.names(jobid)[-1] == "clean"
    (entry,) = running(site).values()
    assert (entry["pending"], entry["allocated"]) == ("0-1", "0-1")
    assert allocated(site) == "0-1"
    table = site.flux("housekeeping", "list", "-no", "{id.dec} {pending.ranks} {nnodes}")
    assert table.stdout == f"{jobid} 0-1 2\n"

    assert site.flux("resource", "status", "-s", "housekeeping", "-no", "{ranks}").stdout == "0-1\n"

    assert site.flux("housekeeping", "kill", "--all", "--targets=1").returncode == 0
    wait_for(lambda: allocated(site) == "0", what="the release of rank 1")
    assert site.flux("housekeeping", "list", "--include=1", "-n").stdout == ""

    assert site.flux("module", "reload", "sched-simple").returncode == 0
    assert allocated(site) == "0"

    assert site.flux("housekeeping", "kill", f"--jobid={jobid}", "-s9").returncode == 0
    wait_for(lambda: allocated(site) == "", what="the release of rank 0")
    assert "Killed" in site.flux("dmesg").stdout


def test_housekeeping_goes_on_when_the_job_manager_is_reloaded(site: Site) -> None:
    site.script("housekeeping", f"echo >> {site.scripts}/begun; while test -d {site.scripts}/busy; do sleep 0.1; done")
    (site.scripts / "busy").mkdir()
    site.names(site.run())
    wait_for(lambda: (site.scripts / "begun").exists(), what="housekeeping")
    before = running(site)
    assert site.flux("module", "reload", "job-manager").returncode == 0
    assert running(site) == before
    wait_for(lambda: allocated(site) == "0-1", what="a scheduler that knows of it")
    (site.scripts / "busy").rmdir()
    wait_for(lambda: not running(site), what="the end of housekeeping")
    assert (site.scripts / "begun").read_text() == "\n\n"
    wait_for(lambda: allocated(site) == "", what="the release of the nodes")
    assert site.flux("kvs", "ls", "checkpoint.housekeeping").stdout == ""


def test_housekeeping_knows_its_job(site: Site) -> None:
    site.script("housekeeping", "echo job $FLUX_JOB_ID of $FLUX_JOB_USERID on $FLUX_JOB_RANKS; echo bad >&2; exit 1")
    jobid = site.run()
    site.names(jobid)
    wait_for(lambda: not running(site), what="the end of housekeeping")
    lines = site.flux("dmesg").stdout
    assert f"job {jobid} of " in lines and " on 0-1" in lines and ": bad" in lines and "nonzero exit code" in lines


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["kill"], "specify at least one of --targets, --jobid, or --all"),
        (["kill", "--all", "--jobid=f1"], "do not specify --jobid with --all"),
        (["kill", "--targets=nohost"], "didn't find nohost in instance hostlist"),
        (["kill", "--all", "-s999"], "Invalid signal number"),
        (["list", "-o", "{zzz}"], "Unknown format field: zzz"),
    ],
)
def test_wrong_requests_about_housekeeping_are_refused(site: Site, words: list[str], why: str) -> None:
    refused = site.flux("housekeeping", *words)
    assert (refused.returncode, refused.stderr) == (1, f"flux-housekeeping: {why}\n")


@pytest.mark.parametrize(
    ("read", "table", "why"),
    [
        (read_housekeeping, {"housekeeping": {}}, "no command is set"),
        (read_housekeeping, {"housekeeping": {"command": "x"}}, "must be an array of strings"),
        (read_housekeeping, {"housekeeping": {"command": ["x"], "release-after": "soon"}}, "release-after: invalid"),
        (read_housekeeping, {"housekeeping": {"command": ["x"], "releaseafter": 1}}, "unknown key releaseafter"),
        (read_perilog, {"prolog": {}}, "no command specified and exec.imp not defined"),
        (read_perilog, {"epilog": {"command": "x"}}, "command must be an array of strings"),
        (read_perilog, {"prolog": {"command": ["x"], "timeout": "soon"}}, "job-manager.prolog.timeout: invalid"),
        (read_perilog, {"prolog": {"command": ["x"], "per-rank": 1}}, "per-rank must be true or false"),
        (read_perilog, {"perilog": {"log-ignore": ["("]}}, "log-ignore"),
    ],
)
def test_a_wrong_configuration_is_refused(read: Callable[[Any], Any], table: Any, why: str) -> None:
    with pytest.raises(FluxError, match=why):
        read({"job-manager": table})
