"""`flux module load --rank` and `remove --rank`: one outcome for each broker, or all of them or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

KERNEL_TESTS = Path(__file__).parent.parent / "kernel"
GREETER = str(KERNEL_TESTS / "modules" / "greeter.py")


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=3, args=[f"--plugins={KERNEL_TESTS / 'kernel.toml'}"])


def loaded_on(running: Instance) -> list[int]:
    return [rank for rank in range(3) if "greeter" in running.run("flux", "module", "list", rank=rank).stdout]


def test_load_and_remove_on_ranks(running: Instance) -> None:
    assert running.run("flux", "module", "load", "-r", "1-2", GREETER).stdout == "1: loaded\n2: loaded\n"
    assert loaded_on(running) == [1, 2]
    removed = running.run("flux", "module", "remove", "--rank=all", "greeter")
    assert (removed.returncode, removed.stdout.splitlines()[1:]) == (1, ["1: removed", "2: removed"])
    assert "0: module greeter is not loaded" in removed.stdout
    assert loaded_on(running) == []


def test_all_or_nothing(running: Instance) -> None:
    running.run("flux", "module", "load", "-r", "1", GREETER, check=True)
    result = running.run("flux", "module", "load", "-r", "all", "--atomic", GREETER)
    assert result.returncode == 1
    assert "1: module greeter is loaded already" in result.stdout
    assert loaded_on(running) == [1]
    running.run("flux", "module", "remove", "-r", "1", "greeter", check=True)


def test_other_commands_on_ranks(running: Instance) -> None:
    def out(*words: str) -> str:
        return running.run("flux", "module", *words, check=True).stdout

    out("load", "-r", "all", GREETER)
    assert out("reload", "-r", "1-2", "greeter") == "1: reloaded\n2: reloaded\n"
    assert out("debug", "-r", "0,2", "--setbit=4", "greeter") == "0: 0x4\n2: 0x4\n"
    assert out("debug", "-r", "all", "greeter") == "0: 0x4\n1: 0x0\n2: 0x4\n"
    assert out("stats", "-r", "all", "-p", "greeted", "greeter") == "0: 0\n1: 0\n2: 0\n"
    assert out("stats", "-r", "1", "--clear", "greeter") == "1: cleared\n"
    rows = [line.split()[:2] for line in out("list", "-r", "1-2", "--no-header").splitlines()]
    assert [row[0] for row in rows if row[1] == "greeter"] == ["1", "2"]
    out("remove", "-r", "all", "greeter")
    missing = running.run("flux", "module", "stats", "-r", "all", "greeter")
    assert missing.returncode == 1 and "2: No service matching greeter.stats-get" in missing.stdout


@pytest.mark.parametrize("words", [["-r", "7"], ["-r", "x"], ["--atomic"]])
def test_nonsense(running: Instance, words: list[str]) -> None:
    result = running.run("flux", "module", "load", *words, GREETER)
    assert (result.returncode, result.stdout) == (1, "")
    assert "rank" in result.stderr
