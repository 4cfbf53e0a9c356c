"""What plugins do wrong, and shells that come late: the job ends soon, and says whose fault it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from flux.testing import Instance, wait_for

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def running(instance: Callable[..., Instance]) -> Instance:
    return instance(size=2)


@pytest.fixture
def run(running: Instance, tmp_path: Path) -> Run:
    """`run(hook, body, *words)`: flux run, with a plugin that has that hook."""

    def run(hook: str, body: str, *words: str) -> CompletedProcess[str]:
        plugin = tmp_path / "plug.py"
        takes = "shell, task" if hook.startswith("task") else "shell"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        plugin.write_text(f"from flux.hooks.shell import hookimpl\n@hookimpl\ndef {hook}({takes}):\n{lines}")
        (tmp_path / "load.lua").write_text(f'plugin.load {{ file = "{plugin}" }}\n')
        return running.run("flux", "run", *words, "-o", f"userrc={tmp_path}/load.lua", "echo", "ran")

    return run


@pytest.mark.parametrize(
    ("hook", "body", "note"),
    [
        ("shell_init", "import sys; sys.exit(0)", "plug: shell_init: sys.exit(0) was called"),
        ("task_fork", "raise SystemExit(3)", "plug: task_fork: sys.exit(3) was called"),
        ("shell_init", "raise KeyboardInterrupt", "KeyboardInterrupt (*/plug.py:4)"),
        ("shell_init", "raise ValueError", "plug: shell_init: ValueError (*/plug.py:4)"),
        ("shell_init", "{}['key']", "plug: shell_init: KeyError: 'key' (*/plug.py:4)"),
        ("shell_init", "raise ValueError('two words')", "plug: shell_init: two words\n"),
        (
            "shell_start",
            "shell.reactor.call_later(0, lambda: 1 / 0)",
            "ZeroDivisionError: division by zero (*/plug.py:4)",
        ),
        (
            "task_init",
            "task.channel_subscribe('stderr', None)",
            "the channel stderr of task 0 has a subscriber already",
        ),
        ("task_init", "shell.setenv('A', 5)", "plug: task_init: the environment variable A cannot be 5"),
        ("task_init", "shell.setenv('A=B', 'x')", "'A=B' cannot be the name of an environment variable"),
        ("task_init", "task.pass_fd('x')", "a file descriptor was expected, not 'x'"),
        ("task_init", "shell.on_request('a', None)", "a: a function was expected, not None"),
        ("shell_init", "try:\n    shell.die('the end')\nexcept Exception:\n    pass", "the end"),
        ("shell_init", "shell.post_event('two words', {})", "the name of an event is text without blanks"),
        ("task_fork", "shell.post_event('a', {'b': object()})", "the context of event a is not what JSON can hold"),
        ("shell_start", "shell.post_event('a', 5)", "the context of event a is an object, not 5"),
        ("shell_init", "shell.add_event_context('shell.init', {'size': 5})", "size of the event shell.init is what"),
        ("shell_init", "shell.add_event_context('shell.init', {'a': object()})", "shell.init is not what JSON"),
        ("task_init", "shell.get_rank_info(-5)", "there is no shell -5: those of this job are 0 to 0"),
    ],
)
def test_a_slip_ends_the_job_with_its_plugin_named(run: Run, hook: str, body: str, note: str) -> None:
    found = run(hook, body)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    raised = next(line for line in found.stderr.splitlines(keepends=True) if "job.exception" in line)
    before, _, after = note.partition("*")
    assert before in raised and after in raised, found.stderr


@pytest.mark.parametrize(
    ("body", "note"),
    [
        ("task.argv = []", "argv is a list of strings, at least one, not []"),
        ("task.argv = [5]", "start failed: 5: argv is a list of strings"),
        ("task.env['A'] = 5", "env is a dictionary of strings, and 'A' is 5"),
        ("task.env = None", "env is a dictionary of strings, not None"),
        ("task.pass_fd(999)", "start failed: echo: Bad file descriptor"),
    ],
)
def test_what_a_plugin_makes_of_a_task_is_checked(run: Run, body: str, note: str) -> None:
    found = run("task_init", body)
    assert (found.returncode, note in found.stderr, "Traceback" in found.stderr) == (126, True, False), found.stderr


def test_at_a_higher_verbosity_there_is_a_traceback(run: Run) -> None:
    assert "Traceback" in run("shell_init", "{}['key']", "-o", "verbose=2").stderr


def test_a_slip_of_a_request_is_the_answer_to_it(run: Run) -> None:
    body = (
        "shell.on_request('slip', lambda msg: {}['key'])\n"
        "shell.on_request('odd', lambda msg: object())\n"
        "if shell.rank:\n"
        "    def answered(rpc):\n"
        "        try:\n"
        "            rpc.get()\n"
        "        except OSError as exc:\n"
        "            shell.log(3, str(exc))\n"
        "        shell.remove_completion_ref('answers')\n"
        "    for method in ('slip', 'odd'):\n"
        "        shell.add_completion_ref('answers')\n"
        "        shell.rpc(0, method, {}).then(answered)\n"
    )
    found = run("shell_post_init", body, "-N2", "--tasks-per-node=1")
    assert (found.returncode, found.stdout) == (0, "ran\nran\n"), found.stderr
    assert "KeyError: 'key'" in found.stderr and "object is not JSON" in found.stderr


def test_what_cannot_be_sent_is_said_and_counts_for_nothing(run: Run) -> None:
    body = (
        "if shell.rank:\n"
        "    for rank, value in ((9, 1), (-1, 1), (0, object())):\n"
        "        try:\n"
        "            shell.send(rank, 'x', {'a': value})\n"
        "        except (ValueError, OSError) as exc:\n"
        "            shell.log(3, str(exc))\n"
        "    shell.log(3, 'the last')\n"
    )
    found = run("shell_start", body, "-N2", "--tasks-per-node=1")
    assert (found.returncode, found.stdout) == (0, "ran\nran\n"), found.stderr
    texts = ["there is no shell 9", "there is no shell -1", "object is not JSON", "the last"]
    assert [text for text in texts if text in found.stderr] == texts, found.stderr


@pytest.mark.parametrize("late", [0, 1])
def test_a_shell_that_comes_late_gets_what_was_sent_before(running: Instance, late: int) -> None:
    """What the other shell logged meanwhile, and its output behind that, are not lost."""
    assert running.run("flux", "run", "-N2", "true").returncode == 0
    parent = warm_parent(running.broker_pid(late))
    os.kill(parent, signal.SIGSTOP)
    found: list[Any] = []
    words = ("-N2", "--tasks-per-node=1", "-o", "verbose", "-o", "exit-timeout=2s", "echo", "ran")
    job = threading.Thread(target=lambda: found.append(running.run("flux", "run", *words)))
    job.start()
    try:
        other = warm_parent(running.broker_pid(1 - late))
        wait_for(lambda: children(other), what="the other shell")
        meant = next(iter(children(other)))
        wait_for(lambda: is_asleep(meant), what="the other shell waiting")
    finally:
        os.kill(parent, signal.SIGCONT)
        job.join()
    assert (found[0].returncode, found[0].stdout) == (0, "ran\nran\n"), found[0].stderr
    assert all(f"flux-shell[{rank}]: DEBUG: 2 shells, 2 tasks" in found[0].stderr for rank in (0, 1)), found[0].stderr


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def warm_parent(broker: int) -> int:
    found = [pid for pid in children(broker) if Path(f"/proc/{pid}/comm").read_text().strip() == "flux-shell-warm"]
    assert len(found) == 1
    return found[0]


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
