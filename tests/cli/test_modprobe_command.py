"""`flux modprobe`: modules come with what they need and go with what nobody else needs (flux-modprobe(1))."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]

MODULE = """
from flux.module import Module


class {cls}(Module):
    name = "{name}"
    requires = {requires}
    after = {requires}
"""
COMPOSITION = """
extends = "default"
[modules.lower]
use = "lower.py"
enabled = false
[modules.upper]
use = "upper.py"
enabled = false
[modules.job-exec]
enabled = false
[modules.job-list]
enabled = false
"""


@pytest.fixture(scope="module")
def composition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composition")
    (folder / "lower.py").write_text(MODULE.format(cls="Lower", name="lower", requires=()))
    (folder / "upper.py").write_text(MODULE.format(cls="Upper", name="upper", requires=("lower", "kvs")))
    (folder / "plugins.toml").write_text(COMPOSITION)
    return folder / "plugins.toml"


@pytest.fixture(scope="module")
def running(flux_instance: Callable[..., Instance], composition: Path) -> Instance:
    return flux_instance(1, args=[f"--plugins={composition}"])


@pytest.fixture
def modprobe(running: Instance, composition: Path) -> Run:
    return lambda *words: running.run("flux", "modprobe", *words, env={"FLUX_PLUGINS": str(composition)})


def loaded(running: Instance) -> set[str]:
    return {module["name"] for module in running.handle().rpc("module.list").get()["mods"]}


def test_what_is_loaded_for_a_module_goes_with_it(modprobe: Run, running: Instance) -> None:
    before = loaded(running)
    assert modprobe("load", "--dry-run", "upper").stdout == "load lower\nload upper\n"
    assert loaded(running) == before
    assert modprobe("load", "upper").returncode == 0
    assert loaded(running) == before | {"lower", "upper"}
    again = modprobe("load", "upper")
    assert (again.returncode, "already loaded" in again.stderr) == (0, True)
    refused = modprobe("remove", "lower")
    assert (refused.returncode, refused.stderr) == (1, "flux-modprobe: lower still in use by upper\n")
    assert modprobe("remove", "--dry-run", "upper").stdout == "remove upper\nremove lower\n"
    assert modprobe("remove", "upper").returncode == 0
    assert loaded(running) == before


def test_everything_goes_and_comes_again(modprobe: Run, running: Instance) -> None:
    assert running.run("flux", "kvs", "put", "kept=1").returncode == 0
    before = loaded(running)
    removed = modprobe("rc3", "-v")
    assert removed.returncode == 0, removed.stderr
    order = [line.removeprefix("remove ") for line in removed.stdout.splitlines()]
    assert order.index("sched-simple") < order.index("job-manager") < order.index("kvs") < order.index("content")
    assert loaded(running) == before - set(order)
    begun = modprobe("rc1", "-v")
    assert begun.returncode == 0, begun.stderr
    assert [line.split()[1] for line in begun.stdout.splitlines()][-1] == "sched-simple"
    assert "load cron sync=heartbeat.pulse\n" in begun.stdout
    assert loaded(running) == before
    assert running.run("flux", "kvs", "get", "kept").stdout == "1\n"


def test_what_a_module_needs_is_drawn(modprobe: Run) -> None:
    assert modprobe("list-dependencies", "upper").stdout.splitlines() == [
        "upper",
        "├── lower",
        "└── kvs",
        "    └── content",
    ]
    short, full = (modprobe("list-dependencies", *words, "sched").stdout.splitlines() for words in ((), ("-f",)))
    assert short[0] == full[0] == "sched (sched-simple)"
    assert len(short) < len(full)
    assert modprobe("list-dependencies", "-S", "sched=sched-backfill", "sched").stdout.startswith(
        "sched (sched-backfill)\n"
    )
    assert modprobe("list-dependencies", "-D", "content-sqlite", "content-backing").stdout.startswith(
        "content-backing (content-"
    )


def test_a_module_is_shown(modprobe: Run) -> None:
    shown = json.loads(modprobe("show", "upper").stdout)
    assert (shown["name"], shown["requires"], shown["disabled"]) == ("upper", ["lower", "kvs"], True)
    sched = json.loads(modprobe("show", "sched").stdout)
    assert (sched["name"], sched["provides"], sched["ranks"]) == ("sched-simple", ["sched", "feasibility"], "0")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("load", "kvss"), 1, "no module or service kvss, did you mean 'kvs'?"),
        (("remove", "nosuch"), 1, "module nosuch is not loaded"),
        (("remove", "rexec"), 1, "rexec is part of the broker"),
        (("remove", "kvs"), 1, "kvs still in use by "),
        (("show", "-S", "sched", "sched"), 1, "'sched' is not SERVICE=MODULE"),
        (("show", "-S", "sched=kvs", "sched"), 1, "no module kvs provides sched"),
        (("show", "-D", "nosuch", "sched"), 1, "no module or service nosuch"),
        (("load",), 2, "MODULE"),
        (("load", "--plugins=/nosuch", "kvs"), 1, "/nosuch"),
    ],
)
def test_nonsense_is_refused(modprobe: Run, words: tuple[str, ...], code: int, message: str) -> None:
    done = modprobe(*words)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
