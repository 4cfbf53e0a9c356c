"""Options of flux run and flux submit: the jobspec they make, and what is refused (flux-submit(1))."""

from __future__ import annotations

import json
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flux.cli.env_rules import apply_rules
from flux.cli.requires import parse_requires
from flux.job import JobspecV1
from flux_cli import submit_many, submit_options
from flux_cli.errors import CommandError
from flux_cli.submit_jobspec import build_jobspec

ENV = {"PATH": "/bin", "HOME": "/home/me", "OMP_A": "1", "OMP_B": "2", "X": "x"}


def jobspec(*argv: str) -> dict[str, Any]:
    args = submit_options.parse("run", "", submit_options.COMMON, argv)
    spec = build_jobspec(args)
    JobspecV1.from_dict(spec)  # raises when it is no valid jobspec
    return spec


def system(*argv: str) -> dict[str, Any]:
    found: dict[str, Any] = jobspec(*argv, "cmd")["attributes"]["system"]
    return found


@pytest.mark.parametrize(
    ("argv", "counts", "task"),
    [
        ([], {"slot": 1, "core": 1}, {"per_slot": 1}),
        (["-n4", "-c2"], {"slot": 4, "core": 8}, {"per_slot": 1}),
        (["-N4"], {"node": 4, "slot": 4, "core": 4}, {"per_slot": 1}),
        (["-N4", "-n8"], {"node": 4, "slot": 8, "core": 8}, {"per_slot": 1}),
        (["-N", "2", "-n", "3"], {"node": 2, "slot": 4, "core": 4}, {"total": 3}),
        (["-n0", "-c0"], {"slot": 1, "core": 1}, {"per_slot": 1}),
        (["-N2", "-n0"], {"node": 2, "slot": 2, "core": 2}, {"per_slot": 1}),
        (["-n2", "-g1"], {"slot": 2, "core": 2, "gpu": 2}, {"per_slot": 1}),
        (["-xN2"], {"node": 2, "slot": 2, "core": 2}, {"per_slot": 1}),
        (["--cores=4"], {"slot": 4, "core": 4}, {"per_slot": 1}),
        (["-N2", "--cores=4"], {"node": 2, "slot": 2, "core": 4}, {"per_slot": 1}),
        (["-N2", "--cores=4", "--tasks-per-node=3"], {"node": 2, "slot": 2, "core": 4}, {"per_slot": 1}),
    ],
)
def test_resources(argv: list[str], counts: dict[str, int], task: dict[str, int]) -> None:
    spec = JobspecV1.from_dict(jobspec(*argv, "cmd", "-n9"))
    assert spec.resource_counts() == counts
    assert spec.tasks == [{"command": ["cmd", "-n9"], "slot": "task", "count": task}]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-n", "-1"], "--ntasks: expected a number of at least 0, got '-1'"),
        (["-N0"], "--nodes: expected a number of at least 1, got '0'"),
        (["-N3", "-n2"], "node count must not be greater"),
        (["-x"], "exclusive needs a node count"),
        (["-n2", "--cores=2"], "do not go with"),
        (["--tasks-per-core=2"], "need --nodes or --cores"),
        (["-t", "5x"], "--time-limit"),
        (["-t", "-5"], "--time-limit"),
        (["--dependency=:nothing"], "SCHEME:VALUE"),
        (["--taskmap="], "--taskmap: expected SCHEME"),
        (["--begin-time="], "--begin-time"),
        (["--env==x"], "a name is expected before ="),
        (["-o", "a=1", "-o", "a.b=1"], "below a value that is no object"),
        (["--begin-time=someday"], "--begin-time"),
    ],
)
def test_nonsense_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        jobspec(*argv, "cmd")


def test_a_command_is_required() -> None:
    with pytest.raises(CommandError, match="arguments are missing"):
        jobspec("-n2")


def test_double_dash_ends_options() -> None:
    assert jobspec("-n2", "--", "-n", "x")["tasks"][0]["command"] == ["-n", "x"]


def test_attributes() -> None:
    found = system("-t", "1.5m", "-q", "debug", "-B", "b", "--job-name=me", "--cwd=/x", "--dependency=afterok:f1?k=2")
    assert (found["duration"], found["queue"], found["bank"], found["cwd"]) == (90.0, "debug", "b", "/x")
    assert found["job"] == {"name": "me"}
    assert found["dependencies"] == [{"scheme": "afterok", "value": "f1", "k": 2}]


def test_options_and_attributes_take_json_or_text(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"deep": [1]}')
    spec = jobspec(
        "--rlimit=-*",
        "-o",
        "a.b=[1]",
        "-o",
        "c",
        "-o",
        "d=x",
        "-S",
        "user.u=2",
        "-S",
        "q.r=s",
        "-S",
        f"^z={file}",
        "cmd",
    )
    found = spec["attributes"]
    assert found["system"]["shell"]["options"] == {"a": {"b": [1]}, "c": 1, "d": "x"}
    assert (found["user"], found["system"]["q"], found["system"]["z"]) == ({"u": 2}, {"r": "s"}, {"deep": [1]})


def test_output_options() -> None:
    shell = system("--output=o-{{id}}", "--error=none", "-l", "-u", "--input=in")["shell"]["options"]
    assert shell["output"]["stdout"] == {"type": "file", "path": "o-{{id}}", "label": True, "buffer": {"type": "none"}}
    assert shell["output"]["stderr"] == {"type": "kvs", "buffer": {"type": "none"}}
    assert shell["input"]["stdin"] == {"type": "file", "path": "in"}
    assert "input" not in system("--input=0-3")["shell"]["options"]


def test_nodes_alone_are_whole_nodes() -> None:
    assert jobspec("-N2", "cmd")["resources"][0]["exclusive"] is True
    assert "exclusive" not in jobspec("-N2", "-n2", "cmd")["resources"][0]


@pytest.mark.parametrize(("text", "seconds"), [("2", 120.0), ("1.5", 90.0), ("2s", 2.0), ("inf", 0)])
def test_time_limit_without_a_unit_is_in_minutes(text: str, seconds: float) -> None:
    assert system("-t", text)["duration"] == seconds


def test_resource_limits_follow_rules() -> None:
    assert "core" in system()["shell"]["options"]["rlimit"]
    assert system("--rlimit=-*,core=16,NOFILE=unlimited")["shell"]["options"]["rlimit"] == {"core": 16, "nofile": -1}
    assert "rlimit" not in system("--rlimit=-*")["shell"]["options"]
    for rule, message in (("nosuch", "no limit is called 'nosuch'"), ("core=much", "neither a number nor unlimited")):
        with pytest.raises(CommandError, match=message):
            jobspec(f"--rlimit={rule}", "cmd")


@pytest.mark.parametrize(
    ("text", "signum", "timeleft"),
    [("USR2", 12, 60.0), ("@3m", 10, 180.0), ("SIGTERM@10", 15, 10.0), ("9@1h", 9, 3600.0)],
)
def test_signal(text: str, signum: int, timeleft: float) -> None:
    assert system(f"--signal={text}")["shell"]["options"]["signal"] == {"signum": signum, "timeleft": timeleft}


@pytest.mark.parametrize("text", ["FOO", "0", "@soon"])
def test_wrong_signal(text: str) -> None:
    with pytest.raises(CommandError, match="--signal"):
        jobspec(f"--signal={text}", "cmd")


def test_a_number_is_minutes_in_any_form() -> None:
    texts = ("5", ".5", "1e2", "90s", "1.5h", "inf")
    assert [system(f"-t{text}")["duration"] for text in texts] == [300, 30, 6000, 90, 5400, 0]


def test_empty_names_and_dependencies_without_a_value() -> None:
    found = system("--bank=", "--job-name=", "--dependency=nothing")
    assert (found["bank"], found["job"], found["dependencies"]) == (
        "",
        {"name": ""},
        [{"scheme": "nothing", "value": ""}],
    )


def test_a_day_begins_at_midnight() -> None:
    (dependency,) = system("--begin-time=tomorrow")["dependencies"]
    start = datetime.fromtimestamp(float(dependency["value"]))
    assert (start.hour, start.minute) == (0, 0)


def test_begin_time_takes_words() -> None:
    (dependency,) = system("--begin-time=tomorrow 8am")["dependencies"]
    start = datetime.fromtimestamp(float(dependency["value"]))
    assert (start.date(), start.hour, start.minute) == (date.today() + timedelta(days=1), 8, 0)


def test_templates_in_the_environment_are_left_to_the_shell() -> None:
    args = submit_options.parse("run", "", submit_options.COMMON, ["--env=OUT=out-{{id}}", "--env=A=b", "cmd"])
    found = build_jobspec(args)["attributes"]["system"]
    assert found["shell"]["options"]["env-expand"] == {"OUT": "out-{{id}}"}
    assert ("OUT" in found["environment"], found["environment"]["A"]) == (False, "b")


def test_resources_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(jobspec("-n3", "cmd")["resources"]))
    assert jobspec(f"--resources-json={tmp_path}/r.json", "-n9", "cmd")["resources"][0]["count"] == 3
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(CommandError, match="no list of resources"):
        jobspec(f"--resources-json={tmp_path}/r.json", "cmd")


def test_add_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("content")
    files = system(f"--add-file={tmp_path}/data", "--add-file=script=#!/bin/sh\ntrue\n")["files"]
    assert files["data"]["data"] == "content"
    assert files["script"]["data"] == "#!/bin/sh\ntrue\n"
    assert system(r"--add-file=x=one\ntwo\n")["files"]["x"]["data"] == "one\ntwo\n"
    assert system(f"--add-file=x:755={tmp_path}/data")["files"]["x"]["mode"] == 0o100755


@pytest.mark.parametrize(("text", "number"), [("hold", 0), ("default", 16), ("expedite", 31), ("7", 7)])
def test_urgency(text: str, number: int) -> None:
    assert submit_options.parse_urgency(text) == number


@pytest.mark.parametrize("text", ["32", "-1", "soon"])
def test_wrong_urgency(text: str) -> None:
    with pytest.raises(CommandError, match="--urgency"):
        submit_options.parse_urgency(text)


def test_flags() -> None:
    args = submit_options.parse("run", "", submit_options.COMMON, ["--flags=waitable,debug", "--debug", "cmd"])
    assert submit_options.job_flags(args) == {"waitable": True, "debug": True}
    args.flags = ["fast"]
    with pytest.raises(CommandError, match="no flag 'fast'"):
        submit_options.job_flags(args)


# -- copies


def _copies(*argv: str) -> list[tuple[list[str], Any]]:
    args = submit_options.parse("submit", "", submit_many.OPTIONS, argv)
    return [
        (job.spec["tasks"][0]["command"], job.spec["attributes"]["system"]["environment"].get("FLUX_JOB_CC"))
        for job in submit_many.copies(args)
    ]


def test_cc_numbers_and_substitutes() -> None:
    assert _copies("--cc=1,3", "echo", "{cc}") == [(["echo", "1"], "1"), (["echo", "3"], "3")]
    assert _copies("--bcc=1-2", "echo", "{cc}") == [(["echo", "1"], None), (["echo", "2"], None)]
    assert _copies("--cc=0-1", "true") == [(["true"], "0"), (["true"], "1")]
    assert _copies("--cc=", "echo", "{cc}") == [(["echo", ""], None)]
    assert _copies("echo", "a{cc}b", "{}") == [(["echo", "ab", "{}"], None)]


def test_cc_in_options() -> None:
    args = submit_options.parse("submit", "", submit_many.OPTIONS, ["--cc=2-3", "-n", "{cc}", "true"])
    assert [job.spec["resources"][0]["count"] for job in submit_many.copies(args)] == [2, 3]


def test_wrong_cc() -> None:
    with pytest.raises(CommandError, match="--cc"):
        _copies("--cc=a", "true")
    with pytest.raises(CommandError, match="only one of --cc or --bcc"):
        _copies("--cc=1", "--bcc=1", "true")


# -- environment


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], ENV),
        (["-*"], {}),
        (["-/.*/"], {}),
        (["-OMP*"], {"PATH": "/bin", "HOME": "/home/me", "X": "x"}),
        (["-*", "OMP*"], {"OMP_A": "1", "OMP_B": "2"}),
        (["-*", "/^OMP_B/"], {"OMP_B": "2"}),
        (["-*", "PATH=/a", "PATH=$PATH:${X}/b"], {"PATH": "/a:x/b"}),
        (["-*", "A=$$X"], {"A": "$X"}),
        (["-*", "NOSUCH*"], {}),
        (["-*", "X=1", "X"], {"X": "1"}),
    ],
)
def test_environment_rules(rules: list[str], expected: dict[str, str]) -> None:
    assert apply_rules(rules, ENV) == expected


def test_rules_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text("-*\nOMP*\n\nFOO=bar\nBAR=${FOO}/baz\n")
    assert apply_rules([f"^{file}"], ENV) == {"OMP_A": "1", "OMP_B": "2", "FOO": "bar", "BAR": "bar/baz"}
    file.write_bytes(b"X=caf\xe9\n")
    assert os.fsencode(apply_rules([f"^{file}"], {})["X"]) == b"caf\xe9"
    file.write_text(f"^{file}\n")
    with pytest.raises(ValueError, match="nested"):
        apply_rules([f"^{file}"], ENV)


@pytest.mark.parametrize(
    ("rule", "message"), [("A=$NOPE", "NOPE is not set"), ("A=${X:-1}", "expected"), ("-/(/", "no regular expression")]
)
def test_wrong_rules(rule: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_rules([rule], ENV)


def test_environment_options_keep_their_order() -> None:
    args = submit_options.parse(
        "run", "", submit_options.COMMON, ["--env-remove=*", "--env=A=1", "--env-file=f", "--env=-B", "cmd"]
    )
    assert args.env == ["-*", "A=1", "^f", "-B"]


# -- constraints


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("gpu", {"properties": ["gpu"]}),
        ("a,^b", {"properties": ["a", "^b"]}),
        ("host:n[1-3]", {"hostlist": ["n[1-3]"]}),
        ("rank:0-3 or not gpu", {"or": [{"ranks": ["0-3"]}, {"not": [{"properties": ["gpu"]}]}]}),
        (
            "(a|b)&-c",
            {"and": [{"or": [{"properties": ["a"]}, {"properties": ["b"]}]}, {"not": [{"properties": ["c"]}]}]},
        ),
        ("a b", {"and": [{"properties": ["a"]}, {"properties": ["b"]}]}),
    ],
)
def test_requires(text: str, constraint: dict[str, Any]) -> None:
    assert parse_requires([text]) == constraint


def test_several_requires_are_all_needed() -> None:
    assert parse_requires(["a", "b"]) == {"and": [{"properties": ["a"]}, {"properties": ["b"]}]}


@pytest.mark.parametrize("text", ["", "(a", "a)", "a or", "host:", "not"])
def test_wrong_requires(text: str) -> None:
    with pytest.raises(ValueError, match="--requires"):
        parse_requires([text])
