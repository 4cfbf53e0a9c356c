"""A node with very many tasks, the limit of open files that ends that, and much input for all tasks."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
[resource]
noverify = true
norestrict = true
[[resource.config]]
hosts = "{host}"
cores = "0-1199"
"""
UNPINNED = ("-o", "cpu-affinity=off")
LIMITED = 'ulimit -Sn 1024 && ulimit -Hn 4096 && exec "$@"'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance with the limits of open files that are usual."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "resource.toml").write_text(CONFIG.format(host=os.uname().nodename))
    instance = Instance(1, args=[f"--config-path={folder}"])
    instance.command = ["sh", "-c", LIMITED, "sh", *instance.command]
    with instance:
        yield instance


def test_a_broker_may_open_more_files_than_it_was_given_at_first(run: Run) -> None:
    assert run("exec", "sh", "-c", "ulimit -n").stdout == "4096\n"


def test_each_of_a_thousand_tasks_runs_and_its_end_is_noticed(run: Run) -> None:
    done = run("run", "-n1000", *UNPINNED, "sh", "-c", "echo $FLUX_TASK_RANK; test $FLUX_TASK_RANK -ne 900 || exit 3")
    assert sorted(map(int, done.stdout.split())) == list(range(1000))
    assert done.returncode == 3, done.stderr


def test_tasks_have_the_limit_that_was_asked_for_where_the_shell_needs_more(run: Run) -> None:
    done = run("run", "-n300", *UNPINNED, "--rlimit=nofile=256", "sh", "-c", "ulimit -n")
    assert Counter(done.stdout.split()) == {"256": 300}, done.stderr


def test_too_many_tasks_for_the_open_files_are_refused_in_words(run: Run) -> None:
    done = run("run", "-n1100", *UNPINNED, "true")
    assert "1100 tasks need more open files than this shell may have: 4096 (ulimit -n" in done.stderr
    assert done.returncode == 1


def test_much_input_reaches_all_tasks_whole(run: Run) -> None:
    text = "".join(f"{n:0100}\n" for n in range(50_000))
    done = run("run", "-n4", *UNPINNED, "md5sum", input=text)
    assert done.stdout.split()[::2] == [hashlib.md5(text.encode()).hexdigest()] * 4, done.stderr
