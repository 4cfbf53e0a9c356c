"""Options of flux run and flux submit: the jobspec they make, and what is refused (flux-submit(1))."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flux.job import JobspecV1
from flux_cli import submit_options
from flux_cli.cmd import submit as submit_command
from flux_cli.env_rules import apply_rules
from flux_cli.errors import CommandError
from flux_cli.requires import parse_requires
from flux_cli.submit_jobspec import build_jobspec

ENV = {"PATH": "/bin", "HOME": "/home/me", "OMP_A": "1", "OMP_B": "2", "X": "x"}


def jobspec(*argv: str) -> dict[str, Any]:
    args = submit_options.parse("run", "", submit_options.COMMON, argv)
    spec = build_jobspec(args, {})
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
        (["-n2", "-g1"], {"slot": 2, "core": 2, "gpu": 2}, {"per_slot": 1}),
        (["-xN2"], {"node": 2, "slot": 2, "core": 2}, {"per_slot": 1}),
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
        (["-n0"], "--ntasks: expected a number of at least 1, got '0'"),
        (["-N3", "-n2"], "node count must not be greater"),
        (["-x"], "exclusive needs a node count"),
        (["-n2", "--cores=2"], "do not go with"),
        (["-t", "5x"], "--time-limit"),
        (["--dependency=nothing"], "SCHEME:VALUE"),
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
    spec = jobspec("--rlimit=-*", "-o", "a.b=[1]", "-o", "c", "-o", "d=x", "-S", "user.u=2", "-S", "q.r=s", "-S", f"^z={file}", "cmd")
    found = spec["attributes"]
    assert found["system"]["shell"]["options"] == {"a": {"b": [1]}, "c": 1, "d": "x"}
    assert (found["user"], found["system"]["q"], found["system"]["z"]) == ({"u": 2}, {"r": "s"}, {"deep": [1]})


def test_output_options() -> None:
    shell = system("--output=o-{{id}}", "--error=none", "-l", "-u", "--input=in")["shell"]["options"]
    assert shell["output"]["stdout"] == {"type": "file", "path": "o-{{id}}", "label": True, "buffer": {"type": "none"}}
    assert shell["output"]["stderr"] == {"type": "kvs", "buffer": {"type": "none"}}
    assert shell["input"]["stdin"] == {"type": "file", "path": "in"}
    assert "input" not in system("--input=0-3")["shell"]["options"]


def test_add_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("content")
    files = system(f"--add-file={tmp_path}/data", "--add-file=script=#!/bin/sh\ntrue\n")["files"]
    assert files["data"]["data"] == "content"
    assert files["script"]["data"] == "#!/bin/sh\ntrue\n"


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
    args = submit_options.parse("submit", "", submit_command.OPTIONS, argv)
    return [
        (spec["tasks"][0]["command"], spec["attributes"]["system"]["environment"].get("FLUX_JOB_CC"))
        for spec, _ in submit_command._jobspecs(args)
    ]


def test_cc_numbers_and_substitutes() -> None:
    assert _copies("--cc=1,3", "echo", "{cc}") == [(["echo", "1"], "1"), (["echo", "3"], "3")]
    assert _copies("--bcc=1-2", "echo", "{cc}") == [(["echo", "1"], None), (["echo", "2"], None)]
    assert _copies("--cc=0-1", "true") == [(["true"], "0"), (["true"], "1")]
    assert _copies("echo", "a{cc}b", "{}") == [(["echo", "ab", "{}"], None)]


def test_cc_in_options() -> None:
    args = submit_options.parse("submit", "", submit_command.OPTIONS, ["--cc=2-3", "-n", "{cc}", "true"])
    assert [spec["resources"][0]["count"] for spec, _ in submit_command._jobspecs(args)] == [2, 3]


def test_wrong_cc() -> None:
    with pytest.raises(CommandError, match="--cc"):
        _copies("--cc=a", "true")
    with pytest.raises(CommandError, match="exclude each other"):
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
    file.write_text(f"^{file}\n")
    with pytest.raises(CommandError, match="nested"):
        apply_rules([f"^{file}"], ENV)


@pytest.mark.parametrize(
    ("rule", "message"), [("A=$NOPE", "NOPE is not set"), ("A=${X:-1}", "expected"), ("-/(/", "no regular expression")]
)
def test_wrong_rules(rule: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
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
    with pytest.raises(CommandError, match="--requires"):
        parse_requires([text])
