"""`flux hostlist`: sets of hosts from the command line, stdin, the instance and jobs (flux-hostlist(1))."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance
from flux_cli.cmd.hostlist import command
from flux_cli.errors import CommandError


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["a[3-4]", "b1", "a3"], "a[3-4],b1,a3\n"),
        (["-c", "a[1-5]", "a1"], "6\n"),
        (["-e", "a[1-3]"], "a1 a2 a3\n"),
        (["-ed", "\\n", "a[1-2]"], "a1\na2\n"),
        (["-n", "0,3", "a[1-5]"], "a[1,4]\n"),
        (["-n=-1-2", "a[1-5]"], "a[4-5]\n"),
        (["-F", "a[3,2]", "a[1-5]"], "2 1\n"),
        (["-L2", "a[1-5]"], "a[1-2]\n"),
        (["-L", "-2", "a[1-5]"], "a[4-5]\n"),
        (["-S", "a10", "a9", "a9"], "a[9,9-10]\n"),
        (["-u", "a10", "a9", "a9"], "a[9-10]\n"),
        (["-x", "a2", "a[1-3]", "a2"], "a[1,3]\n"),
        (["-x", "0,7", "a[1-3]"], "a[2-3]\n"),
        (["-x", "b", "a[1-3]"], "a[1-3]\n"),
        (["-i", "a[1-3]", "a[2-5]", "a[3-9]"], "a3\n"),
        (["-m", "a[1-3]", "a2", "a[3-4]"], "a1\n"),
        (["-X", "a[1-3]", "a[2-5]"], "a[1,4-5]\n"),
        (["-i", "a1", "b1"], ""),
        (["-q", "a1"], ""),
    ],
)
def test_sets(words: list[str], out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(words) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["-n5", "a1"], 1, "-n/--nth: .*out of range"),
        (["-nx", "a1"], 1, "expected an idset"),
        (["-F", "b", "a1"], 1, "-F/--find: .*no host 'b'"),
        (["a[1-"], 1, r"Invalid jobid or hostlist a\[1-"),
        (["-x", "a[", "a1"], 2, "-x/--exclude"),
        (["-i", "-m", "a"], 2, "not allowed with"),
        (["--nope"], 2, "--nope"),
    ],
)
def test_wrong_requests_are_refused(words: list[str], code: int, error: str) -> None:
    with pytest.raises(CommandError, match=error) as found:
        command(words)
    assert found.value.code == code


def test_quiet_tells_by_its_exit_code_whether_there_are_hosts() -> None:
    assert command(["-q", "-i", "a1", "b1"]) == 1


def test_hosts_of_the_instance_and_of_jobs(flux_instance: Callable[..., Instance], tmp_path: Path) -> None:
    instance = flux_instance(2)
    name = instance.handle().attr_get("hostlist").partition(",")[0]

    def hosts(*words: str, **options: object) -> str:
        found = instance.run("flux", "hostlist", *words, **options)
        return str(found.stdout.strip() or found.stderr.strip())

    assert hosts("instance") == hosts("-l") == f"{name},{name}"
    job = instance.run("flux", "submit", "-n1", "--wait", "true").stdout.strip()
    assert hosts(job) == hosts("-l", env={"FLUX_JOB_ID": job}) == name
    assert hosts("f1x") == "flux-hostlist: job f1x not found"
    assert hosts("-f", "f1x", "instance") == f"f1x,{name},{name}"
    assert hosts("-", "c1", input="b1\na[3-4]\n") == "b1,a[3-4],c1"
    assert instance.run("flux", "resource", "drain", "1").returncode == 0
    assert hosts("-c", "avail") == hosts("-c", "available") == "1"
