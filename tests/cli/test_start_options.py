"""Options of flux start that change what is started with: --conf, --rundir, --recovery, --wrap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flux.configvalues import apply_conf

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


def start(tmp: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPDIR": str(tmp)}
    env.pop("FLUX_URI", None)
    command = [FLUX, "start", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("values", "conf"),
    [
        (["a.b=3"], {"a": {"b": 3, "x": 1}}),
        (["a.b=three"], {"a": {"b": "three", "x": 1}}),
        (['{"a": {"c": []}}'], {"a": {"c": [], "x": 1}}),
        (["[a]\nx = 2\n", "a.x=4"], {"a": {"x": 4}}),
    ],
)
def test_conf_values(values: list[str], conf: dict[str, Any]) -> None:
    found: dict[str, Any] = {"a": {"x": 1}}
    for value in values:
        apply_conf(found, value)
    assert found == conf


@pytest.mark.parametrize("value", ["a..b=1", "a.x.y=1", "{", "[a\nb", "/nonexistent.toml"])
def test_what_is_no_conf_value_is_named(value: str) -> None:
    with pytest.raises(ValueError, match="--conf"):
        apply_conf({"a": {"x": 1}}, value)


@pytest.mark.parametrize("size", [[], ["-s2"]], ids=["alone", "2"])
def test_conf_reaches_the_brokers(size: list[str], tmp_path: Path) -> None:
    result = start(tmp_path, *size, MINIMAL, "--conf=tbon.torpid_max=40s", "flux", "config", "get", "tbon.torpid_max")
    assert (result.returncode, result.stdout) == (0, "40s\n"), result.stderr


def test_rundir_is_made_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = start(tmp_path, "-s1", MINIMAL, f"--rundir={folder}", "flux", "getattr", "rundir")
    assert result.stdout == f"{folder}\n", result.stderr
    assert not folder.exists()


def test_recovery_uses_a_statedir(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    show = "flux getattr statedir; flux getattr size; flux getattr broker.recovery-mode"
    result = start(tmp_path, MINIMAL, f"--recovery={tmp_path}/state", "sh", "-c", show)
    assert result.stdout.split() == [f"{tmp_path}/state", "1", "1"], result.stderr


@pytest.mark.parametrize(
    ("args", "says"), [(["-r/nonexistent"], "there is no /nonexistent"), (["-s2", "-r"], "--recovery starts rank 0")]
)
def test_recovery_of_what_cannot_be(args: list[str], says: str, tmp_path: Path) -> None:
    result = start(tmp_path, *args, "true")
    assert result.returncode == 1
    assert says in result.stderr


def test_a_program_may_follow_a_bare_verbose(tmp_path: Path) -> None:
    result = start(tmp_path, "-X", "-v", "echo", "-v")
    assert (result.returncode, result.stderr.strip()[-7:]) == (0, "echo -v")


def test_wrapped_brokers_tell_an_error_once(tmp_path: Path) -> None:
    result = start(tmp_path, "-s3", "--wrap=env", MINIMAL, "-Slog-levle=3", "true")
    assert result.returncode == 1
    assert result.stderr.count("did you mean log-level?") == 1


def test_nothing_is_scheduled_in_recovery_mode(tmp_path: Path) -> None:
    result = start(tmp_path, "-s1", "-Sbroker.recovery-mode=1", "flux", "uptime")
    assert result.stdout.strip().endswith("1 offline"), result.stderr


@pytest.mark.parametrize("size", [[], ["-s2"]], ids=["alone", "2"])
@pytest.mark.parametrize(
    ("before", "setting", "after"),
    [(True, [], True), (False, [], False), (True, ["1"], False), (False, ["0"], True)],
    ids=["keep", "remove", "remove-given", "keep-made"],
)
def test_rundir_cleanup(size: list[str], before: bool, setting: list[str], after: bool, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    if before:
        folder.mkdir(parents=True)
    wanted = [f"-Srundir-cleanup={value}" for value in setting]
    result = start(tmp_path, *size, MINIMAL, f"-Srundir={folder}", *wanted, "flux", "getattr", "rundir")
    assert result.stdout == f"{folder}\n", result.stderr
    assert folder.exists() == after


@pytest.mark.parametrize("size", [[], ["-s2"]], ids=["alone", "2"])
def test_wrong_rundir_cleanup_is_named(size: list[str], tmp_path: Path) -> None:
    result = start(tmp_path, *size, MINIMAL, "-Srundir-cleanup=yes", "true")
    assert (result.returncode, result.stderr.count("rundir-cleanup is 0 or 1, not 'yes'")) == (1, 1)
