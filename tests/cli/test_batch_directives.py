"""Directives in batch scripts (RFC 36): what a script asks for itself, and where it is told that it is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from flux.job import JobspecV1
from flux_cli.cmd import batch
from flux_cli.directives import parse_directives
from flux_cli.errors import CommandError
from flux_cli.submit_nested import instance_jobspec


def words(script: str) -> list[str]:
    return [word for directive in parse_directives(script) for word in directive.words]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("#!/bin/sh\ntrue\n", []),
        ("#!/bin/sh\n#FLUX: -N4   # four\n#FLUX: --queue=batch\ntrue\n", ["-N4", "--queue=batch"]),
        ("#!/bin/sh\n# flux: -N4 -n 8\n# a comment\n\n# flux: # -c2\n# flux: -t5\n", ["-N4", "-n", "8", "-t5"]),
        ("-- flux: --job-name='my job'\n", ["--job-name=my job"]),
        ("'''\nflux: -N2\nflux: -n2\n'''\n", ["-N2", "-n2"]),
        ('# flux: -S a="""{"key": "it\'s"}""" -n1\n', ["-S", 'a={"key": "it\'s"}', "-n1"]),
        ('# flux: --conf="""\n# flux: [a]\n# flux:   b = "c"\n# flux: """\n', ['--conf=[a]\n  b = "c"\n']),
    ],
)
def test_directives_are_words_of_a_command_line(script: str, expected: list[str]) -> None:
    assert words(script) == expected


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("# flux: -N4\necho\n# flux: -c2\n", "line 3: orphan 'flux:' directive"),
        ("# flux: -N4\n## flux: -c2\n", "line 2: '## flux:' does not match"),
        ("# flux: --job-name='a\n", "line 1: .*quotation"),
        ('# flux: -S a="""\n# flux: b\n', 'line 1: """ is not closed'),
        ("# flux: N4\n", "line 1: unknown directive 'N4'"),
    ],
)
def test_a_wrong_directive_is_refused_with_its_line(script: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_directives(script)


def spec_of(script: str, *argv: str) -> dict[str, Any]:
    words = [*argv, "script"]
    args = batch._with_directives(batch._parser(words).parse_args(words), words, "script", script)
    spec = instance_jobspec(args, [], {})
    JobspecV1.from_dict(spec)
    return spec


def test_the_command_line_wins_over_directives() -> None:
    script = "#!/bin/sh\n# flux: -n4 --job-name=inner -o a=1\n"
    spec = spec_of(script, "--job-name=outer", "-o", "b=2")
    system = spec["attributes"]["system"]
    assert (spec["resources"][0]["count"], system["job"]["name"]) == (4, "outer")
    assert (system["shell"]["options"]["a"], system["shell"]["options"]["b"]) == (1, 2)


def test_an_option_that_is_not_there_is_told_with_its_line() -> None:
    with pytest.raises(CommandError, match=r"script line 2: .*--nosuch") as caught:
        spec_of("#!/bin/sh\n# flux: --nosuch\n")
    assert caught.value.code == 2


def test_instance_options() -> None:
    spec = spec_of("", "--dump", "-N2", "--conf=a.b=1", "--conf=a.c=[2]", "--broker-opts=-v,-Sx=y")
    task, system = spec["tasks"][0], spec["attributes"]["system"]
    assert task["command"][2:] == ["-v", "-Sx=y", "-Scontent.dump=flux-{{jobid}}-dump.tgz", "-c{{tmpdir}}/conf.json"]
    assert system["files"]["conf.json"]["data"] == {"a": {"b": 1, "c": [2]}}
    assert spec["resources"][0]["exclusive"] is True


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Number of slots"),
        (["-N3", "-n2"], "node count must not be greater"),
        (["-n1", "--conf=nosuchname"], "there is no 'nosuchname.toml'"),
        (["-n1", "--add-brokers=2"], "needs --nodes"),
    ],
)
def test_nonsense_is_refused(argv: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        spec_of("", *argv)
