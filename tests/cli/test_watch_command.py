"""`flux watch`: output and ends of many jobs at once (flux-watch(1))."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pty_command import Terminal

from flux.testing import Instance

FLUX = str(Path(sys.executable).with_name("flux"))


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


@pytest.fixture(scope="module")
def ids(instance: Instance) -> dict[str, str]:
    """Ended jobs by what became of them."""
    found = {}
    for kind, words in {"good": ("echo", "one"), "bad": ("sh", "-c", "echo two >&2; exit 3")}.items():
        found[kind] = instance.run("flux", "submit", "--wait", *words).stdout.strip()
    found["canceled"] = instance.run("flux", "submit", "--urgency=0", "true").stdout.strip()
    instance.run("flux", "cancel", found["canceled"])
    instance.run("flux", "job", "wait-event", "-t30", found["canceled"], "clean")
    return found


def test_output_and_ends_of_jobs_that_are_over(instance: Instance, ids: dict[str, str]) -> None:
    found = instance.run("flux", "watch", "--all", "-l")
    assert found.returncode == 3
    assert found.stdout == f"{ids['good']}: 0: one\n"
    assert f"{ids['bad']}: 0: two\n" in found.stderr
    assert f"flux-watch: {ids['bad']}: task(s) exited with exit code 3\n" in found.stderr
    assert f"job.exception {ids['canceled']} type=cancel severity=0" in found.stderr


def test_chosen_jobs(instance: Instance, ids: dict[str, str]) -> None:
    good = instance.run("flux", "watch", "-v", ids["good"])
    assert (good.returncode, good.stdout) == (0, "one\n")
    assert good.stderr == f"flux-watch: Watching 1 jobs\nflux-watch: {ids['good']}: completed\n"
    assert "one" in instance.run("flux", "watch", "-f", "completed").stdout.splitlines()
    assert instance.run("flux", "watch", "--since=-1h").returncode == 3
    assert instance.run("flux", "watch", ids["canceled"]).returncode == 1


def test_running_jobs_until_their_ends(instance: Instance, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo begun; until test -e {gate}; do sleep 0.05; done; echo over"
    job = instance.run("flux", "submit", "sh", "-c", script).stdout.strip()
    with Terminal(instance, FLUX, "watch", "--active") as terminal:
        terminal.read_until("begun")
        gate.touch()
        assert terminal.wait() == 0
        assert "over" in terminal.shown
    assert instance.run("flux", "jobs", "-no", "{result}", job).stdout == "COMPLETED\n"


def test_progress_counts_ends(instance: Instance, ids: dict[str, str]) -> None:
    with Terminal(instance, FLUX, "watch", "--progress", "--jps", ids["good"], ids["bad"]) as terminal:
        assert terminal.wait() == 3
        assert "one" in terminal.shown
        assert "job/s" in terminal.shown
    assert "not a tty" in instance.run("flux", "watch", "--progress", ids["good"]).stderr


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ((), 1, "At least one job selection option is required"),
        (("-f", "pending"), 0, "No matching jobs"),
        (("f1234",), 0, "f1234: unknown job id"),
        (("-fdone",), 1, "there is no job state or result 'done'"),
        (("--since=+1h",), 2, "appears to be in the future"),
        (("--nope",), 2, "--nope"),
    ],
)
def test_exit_codes(instance: Instance, ids: dict[str, str], words: tuple[str, ...], code: int, error: str) -> None:
    found = instance.run("flux", "watch", *words)
    assert (found.returncode, found.stdout) == (code, "")
    assert error in found.stderr
