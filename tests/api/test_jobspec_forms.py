"""Jobspecs as the commands that submit jobs make them: from_submit and its like, and apply_options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flux.job import BatchConfig, JobspecV1
from flux_cli import submit_jobspec, submit_options

ENV = {"PATH": "/bin", "A": "1", "SECRET_X": "2", "FLUX_CLI_PLUGINPATH_OVERRIDE": ""}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", ENV)


def system(jobspec: JobspecV1) -> Any:
    return jobspec.attributes["system"]


def test_from_submit_makes_what_flux_submit_makes() -> None:
    options = ["-n4", "-c2", "--time-limit=2h", "--dependency=afterok:f1?x=1", "-o", "verbose=2", "-S", "user.a=1"]
    more = ["--env=-SECRET*", "--env=B=$A", "--env=R={{rank}}", "--requires=rank:0", "--signal=TERM@2m", "--queue=q"]
    files = ["--output=out", "--label-io", "--add-file=x:755=a\nb", "--rlimit=-*,core", "--taskmap=cyclic", "--bank=b"]
    args = submit_options.parse("submit", "", submit_options.COMMON, [*options, *more, *files, "cmd", "-x"])
    made = JobspecV1.from_submit(
        ["cmd", "-x"],
        ntasks=4,
        cores_per_task=2,
        time_limit="2h",
        dependency=["afterok:f1?x=1"],
        shell_options={"verbose": 2},
        attributes={"user.a": 1},
        env=["-SECRET*", "B=$A", "R={{rank}}"],
        requires=["rank:0"],
        signal="TERM@2m",
        queue="q",
        output="out",
        label_io=True,
        add_file=["x:755=a\nb"],
        rlimit=["-*", "core"],
        taskmap="cyclic",
        bank="b",
    )
    submit_jobspec._present_environment.cache_clear()
    assert made.jobspec == submit_jobspec.build_jobspec(args)
    submit_jobspec._present_environment.cache_clear()


def test_environment_and_limits_are_the_callers_by_default() -> None:
    assert system(JobspecV1.from_submit(["x"]))["environment"] == ENV
    assert "nofile" in system(JobspecV1.from_submit(["x"]))["shell"]["options"]["rlimit"]
    ENV["LATER"] = "3"
    assert system(JobspecV1.from_submit(["x"]))["environment"].pop("LATER") == ENV.pop("LATER")
    bare = JobspecV1.from_command(["x"], environment={}).apply_options(time_limit=5)
    assert system(bare) == {"duration": 5, "environment": {}}


def test_from_alloc(tmp_path: Path) -> None:
    jobspec = JobspecV1.from_alloc(nodes=2, conf="a.b=3", bg=True, broker_opts=["-v"])
    assert jobspec.resource_counts() == {"node": 2, "slot": 2, "core": 2}
    assert jobspec.resources[0]["exclusive"] is True
    assert jobspec.tasks[0]["command"][:4] == ["flux", "broker", "-v", "-Sbroker.rc2_none=1"]
    assert system(jobspec)["files"]["conf.json"]["data"] == {"a": {"b": 3}}
    assert system(jobspec)["shell"]["options"]["pty"] == {"capture": 1}
    with pytest.raises(ValueError, match="nslots or nodes"):
        JobspecV1.from_alloc()


def test_from_batch(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\ntrue\n")
    jobspec = JobspecV1.from_batch(tmp_path / "job.sh", nslots=3, time_limit=60)
    assert (jobspec.name, jobspec.stdout, jobspec.duration) == ("job.sh", "flux-{{id}}.out", 60)
    assert system(jobspec)["files"]["script"]["data"] == "#!/bin/sh\ntrue\n"
    wrapped = JobspecV1.from_batch(content="true\n", wrap=True, output="none")
    assert (wrapped.name, wrapped.stdout) == ("batch", None)
    assert system(wrapped)["files"]["script"]["data"] == "#!/bin/sh\ntrue\n"
    with pytest.raises(TypeError, match="either"):
        JobspecV1.from_batch()
    with pytest.raises(ValueError, match="#!"):
        JobspecV1.from_batch(content="true\n")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"tasks": 3}, TypeError), ({"dependency": ":bad"}, ValueError), ({"signal": "NONE"}, ValueError)],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        JobspecV1.from_submit(["x"], **options)


def test_streams_have_their_names_of_the_command_line() -> None:
    jobspec = JobspecV1.from_command(["x"], input="i", output="o", error="kvs", environment={})
    assert (jobspec.input, jobspec.output, jobspec.error) == ("i", "o", None)
    jobspec.error = "e"
    assert jobspec.stderr == "e"


def test_batch_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    (tmp_path / "flux" / "config").mkdir(parents=True)
    (tmp_path / "flux" / "config" / "site.toml").write_text("[named]\nx = 1\n")
    (tmp_path / "file.json").write_text(json.dumps({"file": {"y": 2}}))
    conf = BatchConfig().update("site").update(f"{tmp_path}/file.json").update("a.b=[1]").update("[t]\nz = 3")
    assert conf.config == {"named": {"x": 1}, "file": {"y": 2}, "a": {"b": [1]}, "t": {"z": 3}}
    assert (conf.get("t.z"), conf.get("t.q", 7)) == (3, 7)
    for value in ("nosuch", "nosuch.toml", "a.b.c=1", "[t\n"):
        with pytest.raises(ValueError, match="--conf"):
            conf.update(value)
