"""The sequence of hooks, in Python and in the Lua initrc, on standalone shells (flux-shell(1))."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shell_jobs import jobspec, resources

SEQUENCE = [
    "shell.init",
    "shell.post-init",
    "task.init",
    "task.exec",
    "task.fork",
    "shell.start",
    "task.exit",
    "shell.finish",
    "shell.tasks-complete",
    "shell.exit",
]


def standalone(
    tmp_path: Path, command: list[str], initrc: str = "", ntasks: int = 1
) -> subprocess.CompletedProcess[str]:
    """Run a shell without an instance."""
    files = {"jobspec": jobspec(command, ntasks), "resources": resources([ntasks])}
    args = [sys.executable, "-m", "flux_shell.main", "-s"]
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
        args.append(f"--{name}={tmp_path / name}")
    if initrc:
        (tmp_path / "initrc.lua").write_text(initrc)
        args.append(f"--initrc={tmp_path / 'initrc.lua'}")
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    return subprocess.run([*args, "1"], capture_output=True, text=True, timeout=30, env=env)


def test_lua_sees_every_callback_in_order(tmp_path: Path) -> None:
    initrc = """
        local log = io.open(shell.rcpath .. "/topics", "a")
        plugin.register { name = "spy", handlers = {
            { topic = "*", fn = function (topic) log:write(topic .. "\\n"); log:flush() end } } }
    """
    assert standalone(tmp_path, ["true"], initrc).returncode == 0
    assert (tmp_path / "topics").read_text().split() == SEQUENCE


def test_python_plugin_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "spy.py").write_text(
        "from flux.hooks.shell import hookimpl\n"
        "@hookimpl\ndef task_init(task):\n    task.env['SPY'] = f'saw {task.rank}'\n"
    )
    initrc = f'plugin.searchpath = "{tmp_path}"; plugin.load {{ file = "spy.py" }}'
    result = standalone(tmp_path, ["sh", "-c", "echo $SPY"], initrc)
    assert (result.returncode, result.stdout) == (0, "saw 0\n")


def test_lua_changes_environment_and_options(tmp_path: Path) -> None:
    initrc = """
        shell.setenv("A", "1"); shell.setenv("A", "2", 0); shell.setenv("B", "gone"); shell.unsetenv("B")
        shell.options["env-expand"] = { C = "{{taskid}}" }
        plugin.register { name = "t", handlers = {
            { topic = "task.init", fn = function () task.setenv("RANK", "r" .. task.info.rank) end } } }
    """
    result = standalone(tmp_path, ["sh", "-c", "echo $A-$B-$C-$RANK"], initrc, ntasks=2)
    assert sorted(result.stdout.splitlines()) == ["1--0-r0", "1--1-r1"]


def test_lua_reads_what_the_shell_knows(tmp_path: Path) -> None:
    initrc = """
        local node = shell.get_rankinfo(0)
        shell.setenv("KNOWN", table.concat({ shell.info.ntasks, shell.info.size, node.ntasks,
            node.resources.core, tostring(shell.options.standalone), shell.info.jobspec.tasks[1].command[1] }, " "))
    """
    result = standalone(tmp_path, ["sh", "-c", "echo $KNOWN"], initrc, ntasks=2)
    assert result.stdout.splitlines()[0] == "2 1 2 0-1 true sh"


@pytest.mark.parametrize(
    ("initrc", "text"),
    [
        ("shell.nonsense()", "initrc.lua:1:"),
        ("this is no lua", "initrc.lua:1:"),
        ('shell.die("not today")', "not today"),
        ('source("missing.lua")', "missing.lua: No such file or directory"),
        ("local x = task.info", "only there in task.* callbacks"),
        ('plugin.load { file = "no.py" }', "plugin.searchpath"),
        ('plugin.register { name = "x" }', "needs a name and handlers"),
        (
            'plugin.register { name = "p", handlers = {{ topic = "task.init", fn = function () error("oops") end }} }',
            "oops",
        ),
    ],
)
def test_errors_of_an_initrc_end_the_shell_with_their_text(tmp_path: Path, initrc: str, text: str) -> None:
    result = standalone(tmp_path, ["echo", "never"], initrc)
    assert result.returncode == 1
    assert text in result.stderr
    assert "never" not in result.stdout
    assert "Traceback" not in result.stderr


def test_source_if_exists_is_silent(tmp_path: Path) -> None:
    (tmp_path / "more.lua").write_text('shell.setenv("MORE", "yes")')
    initrc = 'source_if_exists("missing.lua"); source("mo*.lua")'
    assert standalone(tmp_path, ["sh", "-c", "echo $MORE"], initrc).stdout == "yes\n"


def test_standalone_needs_its_files() -> None:
    result = subprocess.run([sys.executable, "-m", "flux_shell.main", "-s", "1"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "--jobspec=FILE" in result.stderr


def test_a_shell_imports_no_event_loop_database_or_lua() -> None:
    script = (
        "import sys; from flux_shell import main; main.preload(); "
        "print({'asyncio', 'zmq', 'sqlite3', 'lupa', 'stevedore', 'argparse'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
