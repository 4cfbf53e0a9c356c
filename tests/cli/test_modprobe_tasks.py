"""`flux modprobe run`: tasks of a file, and modules they ask for, each in its turn (flux-modprobe(1), TASK FILES)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]

TASKS = """
from flux.modprobe import task

def setup(context):
    context.load_modules(["ring"])
    context.setopt("ring", "retry=3")
    assert context.getopts("ring") == ["retry=3"]

@task("last", after=["*"])
def last(context):
    print("last", context.get("shared"), flush=True)
    context.bash("echo of bash; exit ${STATUS:-0}")

@task("first", ranks="0", before=["ring", "middle"], provides=["ground"])
def first(context):
    context.set("shared", [context.rank, context.attr_get("size"), context.conf_get("no.such", 7)])
    context.setenv("SITE_TASK", "set")

@task("middle", after=["ring"], needs=["ground", "kvs"], needs_attrs=["rank", "!no.such"])
def middle(context):
    loaded = {module["name"] for module in context.rpc("module.list").get()["mods"]}
    print("ring" in loaded, context.getenv("SITE_TASK"), flush=True)

@task("elsewhere", ranks=">0")
def elsewhere(context):
    print("elsewhere")

@task("unmet", needs_env=["NO_SUCH_VARIABLE"])
def unmet(context):
    print("unmet")

@task("unmet-too", needs=["unmet"])
def unmet_too(context):
    print("unmet too")
"""


@pytest.fixture(scope="module")
def running(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


@pytest.fixture
def run(running: Instance, tmp_path: Path) -> Run:
    def run(text: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "tasks.py").write_text(text)
        return running.run("flux", "modprobe", "run", *words, "tasks.py", cwd=tmp_path, env=env)

    return run


def test_tasks_run_in_their_order(run: Run, running: Instance) -> None:
    order = json.loads(run(TASKS, "--show-deps").stdout)
    assert order == {"first": [], "ring": ["first"], "middle": ["first", "ring"], "last": ["first", "middle", "ring"]}
    steps = ["run first", "load ring retry=3", "run middle", "run last"]
    assert run(TASKS, "--dry-run").stdout.splitlines() == steps
    done = run(TASKS, "-v")
    shown = [*steps[:3], "True set", steps[3], "last [0, '1', 7]", "of bash"]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, shown, "")
    handle = running.handle()
    assert handle.rpc("broker.getenv", {"names": ["SITE_TASK"]}).get() == {"env": {"SITE_TASK": "set"}}
    again = json.loads(run(TASKS, "--show-deps").stdout)
    assert list(again) == ["first", "middle", "last"]  # the module is there
    gone = run("def setup(context):\n    context.remove_modules(['ring'])\n")
    assert (gone.returncode, gone.stderr) == (0, "")
    assert "ring" not in {module["name"] for module in handle.rpc("module.list").get()["mods"]}


def test_what_is_left_out(run: Run) -> None:
    assert list(json.loads(run(TASKS, "--show-deps", FLUX_MODPROBE_DISABLE="first,ring").stdout)) == ["last"]
    forced = run(TASKS.replace("context.load", "context.enable('unmet'); context.load"), "--dry-run")
    assert {"run unmet", "run unmet-too"} <= set(forced.stdout.splitlines())


def test_after_an_error_nothing_is_begun(run: Run) -> None:
    text = TASKS + "\n@task('never', after=['middle'])\ndef never(context):\n    print('never')\n"
    done = run(text.replace('context.set("shared"', 'raise KeyError("no")  #'))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("flux-modprobe: first: KeyError: 'no' (")
    failed = run("from flux.modprobe import task\n@task('one')\ndef one(c):\n    c.bash('exit 3')\n")
    assert (failed.returncode, failed.stderr) == (1, "flux-modprobe: one: bash exited with status 3: exit 3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@task('a', after=['kvss'])", "task a: there is no task or module kvss, did you mean 'kvs'?"),
        ("@task('a', after=['b'])\ndef a(c): 0\n@task('b', after=['a'])", "wait for each other: a after b after a"),
        ("@task('a', requires=['kvss'])", "no module or service kvss, did you mean 'kvs'?"),
        (
            "@task('a', after='kvs')",
            "tasks.py:2: the plugin file cannot be imported: ValueError: task a: after='kvs' sh",
        ),
        ("@task('a', after=['*'], before=['kvs'])", 'before or after "*" can be so of nothing else'),
        ("@task('a', ranks='x')", "task a: ranks='x' should be an idset, <N, >N or all"),
        ("@task('a', nodes='0')", "unexpected keyword argument 'nodes'"),
        ("@task", 'a task needs a name: @task("name")'),
        ("@task('a')\ndef a(c): 0\n@task('a')", "two tasks are named a"),
        (
            "@task('cron')\ndef a(c): 0\ndef setup(c): c.remove_modules(['cron'])\n@task('b')",
            "of a task and of a module",
        ),
        ("def setup(c): c.enable('nosuch')\n@task('b')", "enable: there is no task or module nosuch"),
        ("def setup(c): c.remove_modules(['rexec'])\n@task('b')", "rexec is part of the broker"),
        ("def setup(c): c.set_alternative('sched', 'kvs')\n@task('b')", "no module kvs provides sched"),
    ],
)
def test_nonsense_is_named(run: Run, text: str, message: str) -> None:
    done = run(f"from flux.modprobe import task\n{text}\ndef last(c): 0\n")
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


def test_scripts_are_run_in_the_place_of_the_broker(running: Instance, tmp_path: Path) -> None:
    (tmp_path / "rc3.d").mkdir()
    for name, code in (("a", 0), ("b", 1), ("c", 0)):
        script = tmp_path / "rc3.d" / name
        script.write_text(f"#!/bin/sh\necho {name}\nexit {code}\n")
        script.chmod(0o755)
    (tmp_path / "tasks.py").write_text(
        "from flux.modprobe import *\nrun = task('a')(lambda c: run_all_rc_scripts(3))\n"
    )
    done = running.run("flux", "modprobe", "run", str(tmp_path / "tasks.py"), env={"FLUX_RC_EXTRA": str(tmp_path)})
    folder = tmp_path / "rc3.d"
    assert done.stdout.splitlines() == [line for name in "abc" for line in (f"running {folder}/{name}", name)]
    assert (done.returncode, f"scripts of rc3.d have failed: {folder}/b\n" in done.stderr) == (1, True)


def test_files_of_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "dis.py").write_text("raise SystemExit('not this one')\n")
    flux = os.path.join(os.path.dirname(sys.executable), "flux")
    command = [flux, "start", flux, "getattr", "size"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
