"""`flux pgrep` and `flux pkill`: jobs by name and range of ids, listed and canceled (flux-pgrep(1))."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


@pytest.fixture(scope="module")
def ids(instance: Instance) -> list[str]:
    """Held jobs: red, green, blue."""
    names = ("red", "green", "blue")
    jobs = [instance.run("flux", "submit", "--urgency=0", f"--job-name={name}", "true") for name in names]
    found = [job.stdout.strip() for job in jobs]
    for job in found:
        instance.run("flux", "job", "list-ids", "--wait-state=sched", job)
    return found


def test_what_matches_is_listed(instance: Instance, ids: list[str]) -> None:
    red, green, blue = ids

    def found(*words: str) -> list[str]:
        return sorted(instance.run("flux", "pgrep", *words).stdout.split())

    assert found(".") == sorted(ids)
    assert found("^gr|ue$") == sorted([green, blue])
    assert found(f"{green}..{blue}") == sorted([green, blue])
    assert found("e", f"{red}..{red}") == [red]
    assert found("name:r.d") == [red]
    assert found("-c1", ".") == [red]
    assert found("--max-entries=1", ".") == [red]
    assert found("-fsched", "-uall", "ree") == [green]
    assert found("-no", "{name}", "ee") == ["green"]
    heading, line = instance.run("flux", "pgrep", "-o", "full", "green").stdout.splitlines()
    assert heading.split()[:3] == ["JOBID", "USER", "NAME"]
    assert line.split()[0] == green


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("pgrep", "nothing-like-it"), 1, ""),
        (("pkill", "nothing-like-it"), 1, ""),
        (("pgrep", "-frunning", "."), 1, ""),
        (("pgrep", "("), 2, "expression error: '('"),
        (("pgrep", "a", "b"), 2, "Only one pattern can be provided"),
        (("pgrep",), 2, "EXPRESSION"),
        (("pkill", "-o", "full", "x"), 2, "-o"),
        (("pgrep", "-o{nope}", "x"), 1, "Unknown format field: nope"),
        (("pgrep", "-fdone", "x"), 1, "there is no job state or result 'done'"),
    ],
)
def test_exit_codes(instance: Instance, ids: list[str], words: tuple[str, ...], code: int, error: str) -> None:
    found = instance.run("flux", *words)
    assert (found.returncode, found.stdout) == (code, "")
    assert error in found.stderr


def test_what_matches_is_canceled(instance: Instance) -> None:
    held = instance.run("flux", "submit", "--urgency=0", "--cc=0-1", "--job-name=doomed", "true").stdout.split()
    running = instance.run("flux", "submit", "--job-name=doomed", "sleep", "300").stdout.strip()
    assert instance.run("flux", "job", "wait-event", "-t30", running, "start").returncode == 0
    for job in held:
        instance.run("flux", "job", "list-ids", "--wait-state=sched", job)
    found = instance.run("flux", "pkill", "--wait", "doomed")
    assert (found.returncode, found.stderr) == (0, "flux-pkill: Canceled 3 jobs\n")
    states = instance.run("flux", "jobs", "-no", "{status}", *held, running)
    assert states.stdout.split() == ["CANCELED"] * 3
