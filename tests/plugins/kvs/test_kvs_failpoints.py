"""Faults at the failpoints of the store: what was acknowledged as on disk is there, whatever moment a fault chooses.

`python tests/plugins/kvs/kvs_failpoint_run.py` lets each of them crash at every moment there is.
"""

from __future__ import annotations

import ast
import errno
import subprocess
import sys
from pathlib import Path

import pytest
from kvs_failpoint_run import SQLITE, Commits
from kvs_kit import STORE

import flux
import flux_plugins
from flux import kvs
from flux.errors import FluxError
from flux.kvs import KVSTxn
from flux.testing import Instance
from flux.testing.failpoints import POINTS, Failpoints

DOCS = Path(__file__).parents[3] / "docs"
PLUGINS = Path(flux_plugins.__file__).parent


@pytest.mark.timeout(300)
def test_a_crash_anywhere_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    scenario = Commits(tmp_path)
    survived = [point for point in SQLITE if scenario.run(f"{point}:crash@2")]
    assert survived == []
    assert scenario.run()


@pytest.mark.timeout(300)
def test_crashes_while_files_are_written_lose_nothing_that_was_synced(tmp_path: Path) -> None:
    composition = tmp_path / "files.toml"
    store = Path(STORE[0].partition("=")[2])
    composition.write_text(store.read_text().replace("content-sqlite", "content-files"))
    scenario = Commits(tmp_path, [f"--plugins={composition}"])
    assert not any(scenario.run(f"files.write:crash@{time}") for time in (1, 3, 6))
    assert scenario.run()


@pytest.mark.timeout(300)
def test_commits_go_on_while_everything_that_may_fail_does(tmp_path: Path) -> None:
    scenario = Commits(tmp_path)
    scenario.commits = 60
    scenario.run(",".join(f"{point}:error@20%" for point in SQLITE if POINTS[point].may_fail))
    scenario.commits = 4
    assert scenario.run()


def test_a_commit_lost_with_its_broker_is_an_error_and_others_go_on() -> None:
    with Instance(2, args=[*STORE, "--test-exit-mode=leader"], env={"FLUX_FAILPOINT": "kvs.relay:crash"}) as running:
        with flux.Flux(running.uri_of(1)) as handle, pytest.raises(ConnectionError):
            kvs.commit(handle, txn=KVSTxn().put("lost", 1))
        root = running.handle()
        kvs.commit(root, txn=KVSTxn().put("kept", 1))
        assert not kvs.exists(root, "lost")


def test_what_content_refused_is_stored_before_a_root_is_on_record(tmp_path: Path) -> None:
    attrs = {"statedir": str(tmp_path)}
    with Instance(attrs=attrs, args=STORE) as running:
        handle = running.handle()
        for module in ("content-sqlite", "content"):
            assert running.run("flux", "module", "remove", "-f", module).returncode == 0
        kvs.commit(handle, txn=KVSTxn().put("refused", "x" * 100))
        for module in ("content", "content-sqlite"):
            assert running.run("flux", "module", "load", module).returncode == 0
        running.run("flux", "module", "remove", "kvs", check=True)
        running.kill()
    with Instance(attrs=attrs, args=STORE) as running:
        assert kvs.get(running.handle(), "refused") == "x" * 100


# -- the failpoints themselves


def called() -> list[str]:
    """Names of all failpoints in the source."""
    names = []
    for path in PLUGINS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                assert isinstance(node.args[0], ast.Constant)
                names.append(str(node.args[0].value))
    return names


def test_each_place_has_a_name_of_its_own_and_is_in_the_guide() -> None:
    assert sorted(called()) == sorted(POINTS)
    lines = (DOCS / "guides" / "failpoints.md").read_text().splitlines()
    for name, point in POINTS.items():
        assert f"| `{name}` | {point.text} | {'yes' if point.may_fail else 'no'} |" in lines


def times(text: str, most: int = 5) -> list[int]:
    """At which of the first times an error comes."""
    points, found = Failpoints(text), []
    for time in range(1, most + 1):
        try:
            points.hit("kvs.stored")
        except FluxError as exc:
            assert exc.errno == errno.ENOSPC
            found.append(time)
    return found


@pytest.mark.parametrize(
    ("when", "expected"),
    [("", [1, 2, 3, 4, 5]), ("@2", [2]), ("@4+", [4, 5]), ("@100%", [1, 2, 3, 4, 5]), ("@0%", [])],
)
def test_selectors(when: str, expected: list[int]) -> None:
    assert times(f"kvs.stored:error=ENOSPC{when}") == expected
    assert times(f"kvs.commit:crash,kvs.stored:delay=0s@1,kvs.stored:error=ENOSPC{when}") == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kvs.stored", "is not NAME:ACTION"),
        ("kvs.nowhere:crash", "no failpoint 'kvs.nowhere': there are kvs.commit"),
        ("kvs.stored:explode", "none of crash"),
        ("kvs.commit:error", "nothing can fail at kvs.commit"),
        ("kvs.stored:error=EWHAT", "'EWHAT' is no errno"),
        ("kvs.stored:delay=soon", "'soon' is no duration"),
        ("kvs.stored:error@0", "none of N"),
        ("kvs.stored:error@101%", "none of N"),
        ("kvs.stored:error@x", "none of N"),
    ],
)
def test_wrong_words_are_refused(text: str, why: str) -> None:
    with pytest.raises(FluxError, match=why) as caught:
        Failpoints(text)
    assert caught.value.errno == errno.EINVAL


def test_without_the_variable_nothing_of_it_is_loaded() -> None:
    program = "import sys, flux.failpoint; flux.failpoint.failpoint('x'); print('flux.testing' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
