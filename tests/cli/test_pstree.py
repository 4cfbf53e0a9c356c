"""`flux pstree`: jobs and the jobs of nested instances as a tree (flux-pstree(1))."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flux.testing import Instance, wait_for


@pytest.fixture(scope="module")
def instance(flux_instance: Callable[..., Instance]) -> Instance:
    return flux_instance(1)


@pytest.fixture(scope="module")
def batch(instance: Instance) -> str:
    """Id of a running instance with two held jobs named inner; its parent has one named outer."""
    held = instance.run("flux", "submit", "--urgency=0", "--job-name=outer", "true")
    assert held.returncode == 0, held.stderr
    script = "flux submit --urgency=0 --cc=0-1 --job-name=inner true; sleep 300"
    found = instance.run("flux", "batch", "-n1", "--output=/dev/null", "--job-name=batch", "--wrap", script)
    assert found.returncode == 0, found.stderr
    jobid = found.stdout.strip()
    wait_for(lambda: instance.run("flux", "pstree", "-f", "pending", jobid).stdout.count("inner") == 1, timeout=60)
    wait_for(lambda: "2*[inner]" in instance.run("flux", "pstree", "-f", "pending", jobid).stdout)
    return jobid


@pytest.fixture
def tree(instance: Instance, batch: str) -> Callable[..., list[str]]:
    def run(*words: str, **options: object) -> list[str]:
        found = instance.run("flux", "pstree", *words, **options)
        assert found.returncode == 0, found.stderr
        return str(found.stdout).splitlines()

    return run


def test_running_jobs_by_default(tree: Callable[..., list[str]]) -> None:
    assert tree() == [".", "└── batch"]


def test_all_jobs_with_their_states(tree: Callable[..., list[str]]) -> None:
    assert tree("-a") == [".", "├── outer:S", "└── batch", "    └── 2*[inner:S]"]
    assert tree("-aC") == [".", "├─outer:S", "└─batch", "  └─2*[inner:S]"]
    assert tree("-aX", "--ascii") == [".", "|-- outer:S", "`-- batch", "    |-- inner:S", "    `-- inner:S"]
    assert tree("-aL0") == [".", "├── outer:S", "└── batch"]


def test_one_job_and_labels(tree: Callable[..., list[str]], batch: str) -> None:
    assert tree("-f", "pending", "-p", batch) == [f"{batch} batch", "└── 2*[inner]"]
    assert tree("-o", "{name}={urgency}", "--parent-label={instance.stats}", "-fpending", batch) == [
        "PD:2 R:0 CD:0 F:0",
        "└── 2*[inner=0]",
    ]


def test_details_before_the_tree(tree: Callable[..., list[str]], batch: str) -> None:
    heading, line = tree("-x")
    assert heading.split() == ["JOBID", "USER", "ST", "NTASKS", "NNODES", "RUNTIME"]
    assert (line.split()[0], line.split()[-1]) == (batch, "batch")
    assert tree("-d", "progress", "-n", "--skip-root=no")[1].split()[:5] == [batch, "1", "2", "0%", "0%"]
    assert tree("--detail-format={nnodes:>3}", "--skip-root=yes") == ["NNODES", "  1 batch"]


def test_lines_are_cut_at_the_width_of_the_terminal(tree: Callable[..., list[str]]) -> None:
    narrow = {"COLUMNS": "8"}
    assert tree(env=narrow) == [".", "└── bat+"]
    assert tree("-l", env=narrow) == [".", "└── batch"]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("-d", "nope"), 2, "invalid choice: 'nope'"),
        (("-C", "--ascii"), 1, "Choose only one of --ascii, --compact"),
        (("-o", "{nope}"), 1, "Unknown format field: nope"),
        (("-fdone",), 1, "there is no job state or result 'done'"),
    ],
)
def test_wrong_requests_are_refused(instance: Instance, words: tuple[str, ...], code: int, error: str) -> None:
    found = instance.run("flux", "pstree", *words)
    assert (found.returncode, found.stdout) == (code, "")
    assert error in found.stderr
