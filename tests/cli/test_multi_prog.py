"""`flux multi-prog`: a file says what each task runs (flux-multi-prog(1))."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance
from flux_cli.cmd.multi_prog import command
from flux_cli.errors import CommandError

CONF = '# roles\n0 echo server\n\n1-2,4 echo "worker %t" %o # by place\n* echo first\n* echo rest %t%o\n7\n'


@pytest.fixture
def conf(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "app.conf"
        path.write_text(text)
        return str(path)

    return write


def test_dry_run(conf: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["-n", "0-4,7", conf(CONF)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0: echo server",
        "1: echo 'worker 1' 0",
        "2: echo 'worker 2' 1",
        "3: echo rest 30",
        "4: echo 'worker 4' 2",
        "7: echo rest 70",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 echo\n", "No matching line for rank 0"),
        ("\nx echo\n", "line 2: invalid idset: x"),
        ('0 "echo\n', "line 1: '0 \"echo': No closing quotation"),
        ("0\n", "No matching line for rank 0"),
        ("0 /nonexistent/program\n", "/nonexistent/program: No such file or directory"),
    ],
)
def test_errors(conf: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, text: str, error: str) -> None:
    monkeypatch.setenv("FLUX_TASK_RANK", "0")
    with pytest.raises(CommandError, match=error.replace("'", ".")) as caught:
        command([conf(text)])
    assert caught.value.code == 1


def test_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match="/nonexistent: No such file"):
        command(["/nonexistent"])


def test_outside_of_a_job(conf: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUX_TASK_RANK", raising=False)
    with pytest.raises(CommandError, match="FLUX_TASK_RANK is not set"):
        command([conf(CONF)])


def test_each_task_of_a_job(conf: Callable[[str], str], instance: Callable[..., Instance]) -> None:
    done = instance(size=1).run("flux", "run", "--cores=1", "--tasks-per-core=4", "flux", "multi-prog", conf(CONF))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["rest 30", "server", "worker 1 0", "worker 2 1"]
