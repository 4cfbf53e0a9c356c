"""`flux module` as an administrator uses it in a running instance."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flux.testing import Instance, wait_for
from flux_cli.cmd import module_stats
from flux_cli.errors import CommandError

MINIMAL = [f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"]
MODULE = '''
"""Modules for a test."""
import msgspec
from flux.module import Module, request, USER

class Options(msgspec.Struct):
    greeting: str = "hello"

class Greeter(Module):
    """Says hello."""
    name = "greeter"
    options_type = Options

    @request("hello", allow=USER)
    def hello(self, msg):
        return {"text": f"{self.options.greeting} WHO", "name": self.module_name}

    @request("fail", allow=USER)
    def fail(self, msg):
        raise ValueError("on purpose")
'''

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "greeter.py"
    path.write_text(MODULE.replace("WHO", "world"))
    return path


@pytest.fixture
def run(instance: Callable[..., Instance], tmp_path: Path) -> Iterator[Run]:
    """Run `flux module ARGS` where the file is; what a test loads is removed after it."""
    running = instance(size=1, args=MINIMAL)
    before = {module["name"] for module in listed(running)}
    yield lambda *args, **options: running.run("flux", "module", *args, cwd=tmp_path, **options)
    for module in listed(running):
        if module["name"] not in before:
            running.run("flux", "module", "remove", module["name"], check=True)


def listed(running: Instance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(running.run("flux", "module", "list", "--json", check=True).stdout)
    return found


@pytest.fixture
def hello(instance: Callable[..., Instance]) -> Callable[..., dict[str, str]]:
    def call(name: str = "greeter") -> dict[str, str]:
        result = instance(size=1, args=MINIMAL).run("flux", "rpc", f"{name}.hello", check=True)
        answer: dict[str, str] = json.loads(result.stdout)
        return answer

    return call


def row(run: Run, name: str) -> dict[str, Any]:
    modules = json.loads(run("list", "--json").stdout)
    return next((module for module in modules if module["name"] == name), {})


def fails(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1 and result.stdout == ""
    return result.stderr.removesuffix("\n")


@pytest.mark.parametrize("options", [[], ["--exec"]], ids=["in-process", "exec"])
def test_load_reload_remove(options: list[str], run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    assert run("load", "./greeter.py", "greeting=good day", *options).stderr == ""
    assert hello()["text"] == "good day world"
    assert row(run, "greeter")["isolated"] == bool(options)
    file.write_text(MODULE.replace("WHO", "moon"))
    assert run("reload", "greeter").stderr == ""
    assert hello()["text"] == "hello moon"
    assert row(run, "greeter")["isolated"] == bool(options)
    assert run("remove", "./greeter.py").stderr == ""
    assert row(run, "greeter") == {}


def test_reload_that_cancels_and_unload(run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    run("load", "--name=second", "greeter.py")
    file.write_text(MODULE.replace("WHO", "sun"))
    assert run("reload", "--cancel", "second", "greeting=good day").stderr == ""
    assert hello("second") == {**hello("second"), "name": "second", "text": "good day sun"}
    assert run("unload", "second").stderr == ""
    assert fails(run("reload", "--cancel", "second")) == "flux-module: module second is not loaded"
    assert fails(run("reload", "--loader=/x", "second")).startswith("flux-module: --loader is for the path of a")
    assert float(run("stats", "-p", "utime", "-R", "log").stdout) > 0


def test_load_under_another_name(run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    run("load", "--name=second", "greeter.py")
    assert hello("second")["name"] == "second"
    run("reload", "second")
    assert hello("second")["name"] == "second"


def test_load_from_the_module_path(run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    path = {"FLUX_MODULE_PATH": f"/nonexistent:{file.parent}"}
    assert run("load", "greeter", env=path).stderr == ""
    assert row(run, "greeter")["path"] == str(file)
    assert hello()["text"] == "hello world"


def test_refusals_say_what_was_wrong(run: Run, file: Path) -> None:
    assert fails(run("load", "./missing.py")) == "flux-module: no such module file: ./missing.py"
    assert "did you mean" in fails(run("load", "heartbeet"))
    assert "greting" in fails(run("load", "greeter.py", "greting=x"))
    assert fails(run("remove", "greeter")) == "flux-module: module greeter is not loaded"
    assert fails(run("reload", "greeter")) == "flux-module: module greeter is not loaded (--force loads it anyway)"
    run("load", "greeter.py")
    assert fails(run("load", "greeter.py")) == "flux-module: module greeter is loaded already"


def test_force(run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    assert run("remove", "--force", "greeter").returncode == 0
    assert run("reload", "--force", "greeter.py").returncode == 0
    assert hello()["text"] == "hello world"


def test_list_shows_what_happened_to_a_module(run: Run, file: Path) -> None:
    assert "Note" not in run("list").stdout.splitlines()[0]
    run("load", "--exec", "greeter.py")
    pid = row(run, "greeter")["pid"]
    long = run("list", "--long", "--no-header").stdout.splitlines()
    assert next(line for line in long if line.split()[:1] == ["greeter"]).endswith(f"{file}  pid {pid}")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: row(run, "greeter")["status"] == 3, what="the death of the module")
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("greeter"))
    assert line.split()[2] == "E" and "signal 9" in line


def test_list_counts_errors(run: Run, instance: Callable[..., Instance], file: Path) -> None:
    run("load", "greeter.py")
    result = instance(size=1, args=MINIMAL).run("flux", "rpc", "greeter.fail")
    assert result.stderr == "flux-rpc: ValueError: on purpose\n"
    line = next(line for line in run("list").stdout.splitlines() if line.startswith("greeter"))
    assert line.split()[2] == "R" and "1 error" in line and "on purpose" in line


def test_info_needs_no_instance(run: Run, file: Path) -> None:
    text = run("info", "./greeter.py", env={"FLUX_URI": "local:///nonexistent"}).stdout
    facts = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert facts["Module:"] == "greeter" and facts["Path:"] == str(file) and facts["About:"] == "Says hello."
    assert facts["Arguments:"] == "greeting" and facts["Methods:"] == "fail, hello"


# -- stats, debug


def test_stats_are_shown_and_parsed(run: Run) -> None:
    assert set(json.loads(run("stats", "log").stdout)) >= {"count", "ring-used"}
    assert json.loads(run("stats").stdout)["rx"]["request"] > 0  # of the broker itself
    counted = int(run("stats", "--parse=ring-used", "log").stdout)
    assert counted > 0
    assert run("stats", "-p", "ring-used", "-s", "0.5", "-t", "double", "log").stdout == f"{counted / 2:.6f}\n"
    assert float(run("stats", "--rusage", "--parse=utime", "log").stdout) > 0
    assert fails(run("stats", "-p", "nosuch", "log")).startswith(
        "flux-module: the result has no 'nosuch': it has count"
    )
    assert "for a number" in fails(run("stats", "--type=int", "log"))


@pytest.mark.parametrize("option", ["--clear", "--clear-all"])
def test_stats_are_cleared(option: str, run: Run, hello: Callable[..., dict[str, str]], file: Path) -> None:
    def requests() -> int:
        return int(run("stats", "--parse=rx.request", "greeter", check=True).stdout)

    run("load", "greeter.py", check=True)
    for _ in range(5):
        hello()
    assert requests() >= 5
    run("stats", option, "greeter", check=True)
    assert requests() < 5


def test_walk_selects_from_arrays() -> None:
    assert module_stats.walk({"a": [{"b": 1}, {"b": 2}]}, "a.1.b") == 2
    with pytest.raises(CommandError, match="'a' has no '7': it is an array of 1"):
        module_stats.walk({"a": [1]}, "a.7")


def test_debug_flags(run: Run) -> None:
    outputs = [
        run("debug", *args, "log").stdout.strip()
        for args in (["--set=0x10"], ["--setbit", "3"], [], ["--clearbit=020"], ["--clear"])
    ]
    assert outputs == ["0x10", "0x13", "0x13", "0x3", "0x0"]
    assert "'1x' is no number" in fails(run("debug", "--set=1x", "log"))
