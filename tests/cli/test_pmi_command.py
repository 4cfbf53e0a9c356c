"""`flux pmi`, as the tasks of a job and on its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flux.testing import Instance


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with Instance(2) as two:
        yield two


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("barrier --test-count=2", ["NAME: completed pmi barrier on 2 tasks"] * 2),
        ("exchange --count=3", ["NAME: completed pmi exchange on 2 tasks in"] * 3),
        ("barrier --test-timing", ["NAME: completed pmi barrier on 2 tasks in"]),
        ("get PMI_process_mapping flux.instance-level", ["(vector,(0,2,1))", "1"]),
        ("get --ranks=all flux.instance-level", ["1", "1"]),
        ("-t 30s --method=simple get --ranks=1 flux.instance-level", ["1"]),
        ("--method=single barrier", ["single: completed pmi barrier on 1 tasks"] * 2),
    ],
)
def test_tasks_of_a_job(running: Instance, words: str, lines: list[str]) -> None:
    found = running.run("flux", "run", "-N2", "flux", "pmi", *words.split())
    assert found.returncode == 0, found.stderr
    printed = found.stdout.splitlines()
    assert len(printed) == len(lines)
    for line, expected in zip(printed, lines, strict=True):
        name = line.partition(":")[0]
        assert line.startswith(expected.replace("NAME", name)), line


def test_calls_are_shown(running: Instance) -> None:
    found = running.run("flux", "run", "flux", "pmi", "-v", "barrier")
    assert "simple: barrier: success\n" in found.stderr
    assert found.stderr.count("finalize: success\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("barrier --test-abort=1", "flux-pmi: rank 1 is aborting"),
        ("get nokey", "nokey"),
        ("--method=nowhere barrier", "there is no method 'nowhere': it is simple, libpmi, libpmi:PATH or single"),
        ("--method=libpmi:/nowhere.so barrier", "/nowhere.so cannot be loaded"),
        ("barrier key", "barrier takes no further arguments, got key"),
        ("get --ranks=x key", "expected all, or ranks such as 0-3, got 'x'"),
        ("-t x barrier", "-t/--timeout"),
        ("dance", "invalid choice: 'dance'"),
    ],
)
def test_what_goes_wrong_is_said(running: Instance, words: str, text: str) -> None:
    found = running.run("flux", "run", "-N2", "flux", "pmi", *words.split())
    assert found.returncode != 0
    assert text in found.stderr


def test_time_that_is_up_ends_it(running: Instance) -> None:
    script = "test $FLUX_TASK_RANK = 1 && exec sleep 60; exec flux pmi -t 0.2s barrier"
    found = running.run("flux", "run", "-N2", "-o", "exit-on-error", "sh", "-c", script)
    assert "flux-pmi: timed out after 0.2 s" in found.stderr


def test_without_a_launcher_it_is_alone(running: Instance) -> None:
    found = running.run("flux", "pmi", "exchange")
    assert found.returncode == 0
    assert found.stdout.startswith("single: completed pmi exchange on 1 tasks")
    assert "no: key not found" in running.run("flux", "pmi", "get", "no").stderr
