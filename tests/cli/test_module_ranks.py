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


@pytest.mark.parametrize("words", [["-r", "7"], ["-r", "x"], ["--atomic"]])
def test_nonsense(running: Instance, words: list[str]) -> None:
    result = running.run("flux", "module", "load", *words, GREETER)
    assert (result.returncode, result.stdout) == (1, "")
    assert "rank" in result.stderr
