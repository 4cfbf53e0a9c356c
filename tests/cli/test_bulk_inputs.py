"""What flux bulksubmit makes of its inputs (flux-bulksubmit(1))."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from flux_cli.cmd import bulksubmit
from flux_cli.errors import CommandError


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert bulksubmit.command(["--dry-run", *argv]) == 0
    return [line.removeprefix("bulksubmit: submit ") for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("echo {} ::: a b", ["echo a", "echo b"]),
        ("::: a b", ["a", "b"]),
        ("echo {1} {0} ::: 1 2 ::: 3 4", ["echo 3 1", "echo 4 1", "echo 3 2", "echo 4 2"]),
        ("echo {0} {1} ::: 1 2 3 :::+ x y", ["echo 1 x", "echo 2 y", "echo 3 x"]),
        ("echo {./} {.%} {./%} {.//} {seq} {seq1} ::: /a/b.c", ["echo b.c /a/b b /a 0 1"]),
        ("-n {} --output=o-{{id}} echo {{id}} ::: 2", ["-n2 echo {{id}}"]),
        ("--cc=1-2 echo {cc}{} ::: a", ["--cc=1-2 echo {cc}a"]),
        ("--define=p2=2**int(x) -n {.p2} cmd ::: 0 3", ["-n1 cmd", "-n8 cmd"]),
        ("--define=two=[x,x] echo {.two} ::: a", ["echo a a"]),
    ],
)
def test_inputs(capsys: pytest.CaptureFixture[str], argv: str, expected: list[str]) -> None:
    assert shown(capsys, *argv.split()) == expected


def test_inputs_of_files(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "inputs"
    file.write_text("a b\nc\n")
    assert shown(capsys, "echo", "{}", "::::", str(file)) == ["echo a b", "echo c"]
    assert shown(capsys, "--sep=none", "echo", "{}", "::::", str(file)) == ["echo a", "echo b", "echo c"]
    monkeypatch.setattr("sys.stdin", io.StringIO("x;y"))
    assert shown(capsys, "--sep=;", "echo", "{}") == ["echo x", "echo y"]


def test_shuffle_submits_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(shown(capsys, "--shuffle", "{}", ":::", *"abcd")) == list("abcd")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("echo {2} ::: 1", "only 1 lists of inputs"),
        ("echo {foo} ::: 1", "no input {foo}"),
        ("echo {.foo} ::: 1", "unknown input string method '.foo'"),
        ("echo ::::", "takes one file"),
        ("echo :::x 1", "expected :::"),
        ("--define=x=1+ echo ::: 1", "no Python expression"),
        ("--define=x=int(x) echo {.x} ::: a", "--define=x: ValueError for 'a'"),
        ("echo :::", "no jobs provided"),
        ("--sep= echo ::: a", "--sep takes what separates inputs"),
        (r"--sep=\x echo ::: a", "--sep=.*: truncated"),
    ],
)
def test_nonsense_is_refused(argv: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        bulksubmit.command(["--dry-run", *argv.split()])
