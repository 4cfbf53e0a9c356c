"""A node with very many tasks, the limit of open files that ends that, and much input for all tasks."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flux.testing import Instance

Run = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
[resource]
noverify = true
norestrict = true
[[resource.config]]
hosts = "{host}"
cores = "0-1023"
"""
UNPINNED = ("-o", "cpu-affinity=off")


@pytest.fixture
def running(instance: Callable[..., Instance], tmp_path: Path) -> Instance:
    (tmp_path / "resource.toml").write_text(CONFIG.format(host=os.uname().nodename))
    return instance(1, args=[f"--config-path={tmp_path}"])


def test_each_of_a_thousand_tasks_runs_and_its_end_is_noticed(run: Run) -> None:
    done = run("run", "-n1024", *UNPINNED, "sh", "-c", "echo $FLUX_TASK_RANK; test $FLUX_TASK_RANK -ne 1000 || exit 3")
    assert sorted(map(int, done.stdout.split())) == list(range(1024))
    assert done.returncode == 3, done.stderr


def test_too_many_tasks_for_the_open_files_are_refused_in_words(run: Run) -> None:
    limit = ("-o", "rlimit.nofile=256")
    done = run("run", "-n400", *UNPINNED, *limit, "true")
    assert "400 tasks need more open files than this shell may have: 256 (ulimit -n" in done.stderr
    assert done.returncode == 1


def test_much_input_reaches_all_tasks_whole(run: Run) -> None:
    text = "".join(f"{n:0100}\n" for n in range(50_000))
    done = run("run", "-n4", *UNPINNED, "md5sum", input=text)
    assert done.stdout.split()[::2] == [hashlib.md5(text.encode()).hexdigest()] * 4, done.stderr
