"""flux start as its users know it: exit codes, options, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flux.testing import runs, wait_for

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MINIMAL = f"--plugins={Path(__file__).parent.parent / 'kernel' / 'kernel.toml'}"


def start(*args: str, tmp: Path, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPDIR": str(tmp)}
    env.pop("FLUX_URI", None)
    return subprocess.run(
        [FLUX, "start", *args], env=env, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL, **options
    )  # type: ignore[call-overload,no-any-return]


def left_behind(tmp: Path) -> list[str]:
    return [entry.name for entry in tmp.iterdir() if entry.name.startswith("flux-")]


@pytest.mark.parametrize("size", [["-s1"], ["-s4"], []], ids=["1", "4", "alone"])
@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
def test_exit_code_is_the_initial_programs(size: list[str], script: str, code: int, tmp_path: Path) -> None:
    result = start(*size, MINIMAL, "sh", "-c", script, tmp=tmp_path)
    assert result.returncode == code, result.stderr
    assert left_behind(tmp_path) == []


def test_program_finds_its_instance(tmp_path: Path) -> None:
    result = start("-s3", MINIMAL, "sh", "-c", "flux getattr size; flux getattr tbon.fanout", "-S", "x", tmp=tmp_path)
    assert result.stdout.split() == ["3", "32"], result.stderr


def test_attributes_and_topology(tmp_path: Path) -> None:
    result = start("-s4", MINIMAL, "-Stbon.topo=kary:1", "-o,-Svendor.a=b", "sh", "-c",
                   "flux getattr tbon.maxlevel; flux getattr vendor.a", tmp=tmp_path)  # fmt: skip
    assert result.stdout.split() == ["3", "b"], result.stderr


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["-s0", "true"], 1, "above 0"),
        (["-sx", "true"], 1, "above 0"),
        (["-s2", "-Srank=x,y", "-Snonsense", "true"], 1, "ATTR=VAL"),
        (["-s2", "--test-rundir=/nonexistent/dir", "true"], 1, "no directory"),
        (["-s2", "--plugins=/nonexistent.toml", "true"], 1, "/nonexistent.toml"),
        (["-s2", "-o--nonsense", "true"], 1, "--nonsense"),
        (["-s2", "-vx", "true"], 1, "verbosity must be a number"),
        (["-s2", "-Sbroker.pid=7", "true"], 1, "broker.pid is the broker's to set"),
        (["-s2", "-c/nonexistent.toml", "true"], 1, "/nonexistent.toml"),
    ],
)
def test_wrong_arguments_are_named(args: list[str], code: int, says: str, tmp_path: Path) -> None:
    result = start(*args, tmp=tmp_path)
    assert result.returncode == code
    assert says in result.stderr
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("size", ["1", "3"])
def test_an_unknown_attribute_stops_the_start(size: str, tmp_path: Path) -> None:
    result = start(f"-s{size}", MINIMAL, "-Slog-levle=3", "true", tmp=tmp_path)
    assert result.returncode == 1
    assert "unknown attribute log-levle: did you mean log-level?" in result.stderr
    assert left_behind(tmp_path) == []


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    result = start("-s2", MINIMAL, "nosuchprogram", tmp=tmp_path)
    assert result.returncode == 127
    assert "nosuchprogram" in result.stderr


def test_noexec_shows_commands_only(tmp_path: Path) -> None:
    result = start("-vv", "-X", "-s2", MINIMAL, "myprogram", tmp=tmp_path)
    assert result.returncode == 0
    assert result.stderr.count("myprogram") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[modules.attrr]\n', 'did you mean "attr"'),
        ('[modules.attr]\nrnks = "0"\n', 'did you mean "ranks"'),
        ('[modules.attr]\nafter = ["log"]\n[modules.log]\nafter = ["attr"]\n', "circle: attr after log after attr"),
        ('[modules.attr]\n[modules.x]\nuse = "attr"\n[modules', "plugins.toml:4: not valid TOML"),
    ],
)  # fmt: skip
def test_a_typo_in_the_composition_is_one_readable_message(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "plugins.toml"
    file.write_text(text)
    result = start("-s4", f"--plugins={file}", "true", tmp=tmp_path)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("signum", "status"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM)],
)
def test_a_signal_ends_everything(signum: signal.Signals, status: signal.Signals, tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [FLUX, "start", "-s3", MINIMAL, "sh", "-c", "echo $$; exec sleep 1000"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    program = int(process.stdout.readline())
    process.send_signal(signum)
    process.communicate(timeout=40)
    assert process.returncode == 128 + status
    wait_for(lambda: not runs(program), what="the end of the initial program")
    assert left_behind(tmp_path) == []


def test_what_nohup_ignores_is_ignored_by_all(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        ["nohup", FLUX, "start", "-s2", MINIMAL, "sh", "-c", "echo $$ $(flux getattr broker.pid); exec sleep 1000"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    for pid in (process.pid, *map(int, process.stdout.readline().split())):
        os.kill(pid, signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT  # SIGTERM, or that of SIGHUP, had one been passed on
    assert left_behind(tmp_path) == []


def test_a_broker_killed_at_the_start_is_named_and_the_rest_ends(tmp_path: Path) -> None:
    result = start("-s3", MINIMAL, "--test-exit-timeout=1s", "sh", "-c",
                   "kill -9 $(FLUX_URI=${FLUX_URI%-0}-2 flux getattr broker.pid) && exec sleep 1000",
                   tmp=tmp_path)  # fmt: skip
    assert result.returncode != 0
    assert "2 (pid" in result.stderr
    assert left_behind(tmp_path) == []
