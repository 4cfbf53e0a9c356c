"""What an instance keeps goes to an archive at its end and comes from one at its start (flux-shutdown(1))."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return state


def start(state: Path, script: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TMPDIR": str(state.parent), **env}
    environ.pop("FLUX_URI", None)
    command = [FLUX, "start", "-Slog-stderr-level=6", f"-Sstatedir={state}", *options, "sh", "-c", script]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, cwd=state.parent
    )


def sleep_after(words: str) -> str:
    return f"{words} || exit 1; sleep 60"


def test_the_next_start_begins_with_what_was_dumped(state: Path) -> None:
    first = start(state, sleep_after("flux kvs put a.b=1 && flux kvs put a.b=2 && flux shutdown --gc --background"))
    assert f"shutdown will dump KVS to {state}/dump/" in first.stderr
    (archive,) = (state / "dump").glob("*.tgz")
    assert (state / "dump" / "RESTORE").resolve() == archive
    with tarfile.open(archive) as members:
        assert "a/b" in members.getnames()
    before = (state / "content.sqlite").stat().st_mtime_ns
    script = "flux kvs get a.b; flux content checkpoint list -n | wc -l; flux shutdown --gc --skip-gc"
    second = start(state, script, "-Scontent.restore=auto")
    assert second.stdout.split() == ["2", "1"], second.stderr
    assert f"restoring the key-value store from {archive}" in second.stderr
    assert "--gc goes with neither" in second.stderr
    assert (state / "content.sqlite").stat().st_mtime_ns != before
    assert [path.name for path in (state / "dump").iterdir()] == [archive.name]


def test_a_dump_goes_where_one_says_unless_it_is_skipped(state: Path) -> None:
    archive = state.parent / "here.tar"
    start(state, sleep_after(f"flux kvs put x=1 && flux shutdown --dump={archive} --background"))
    assert tarfile.is_tarfile(archive)
    script = sleep_after("flux shutdown --skip-gc --background")
    skipped = start(state, script, "-Scontent.dump=auto", "-Scontent.restore=auto")
    assert "dump" not in skipped.stderr
    assert not (state / "dump").exists()
    fresh = state.parent / "fresh"
    fresh.mkdir(mode=0o700)
    assert start(fresh, "flux kvs get x", f"-Scontent.restore={archive}").stdout == "1\n"


def test_a_damaged_archive_stops_the_start_and_costs_nothing(state: Path) -> None:
    assert start(state, "flux kvs put kept=yes").returncode == 0
    damaged = state.parent / "damaged.tar"
    damaged.write_bytes(b"no archive" * 1000)
    for path, reason in ((damaged, "tar"), (state / "nowhere.tar", "no archive")):
        refused = start(state, "echo ran", f"-Scontent.restore={path}")
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert reason in refused.stderr
    assert start(state, "flux kvs get kept").stdout == "yes\n"


def test_a_restore_that_was_interrupted_is_made_at_the_next_start(state: Path) -> None:
    assert start(state, "flux kvs put kept=yes", "-Scontent.dump=auto").returncode == 0
    crashed = start(state, "echo ran", "-Scontent.restore=auto", FLUX_FAILPOINT="sqlite.stored:crash")
    assert (crashed.returncode, crashed.stdout) != (0, "ran\n")
    assert (state / "dump" / "RESTORE").is_symlink()
    assert start(state, "flux kvs get kept", "-Scontent.restore=auto").stdout == "yes\n"
    assert not (state / "dump" / "RESTORE").is_symlink()


def test_a_dump_that_fails_is_told_and_the_store_stays(state: Path) -> None:
    failed = start(state, "flux kvs put kept=yes", "-Scontent.dump=/proc/none/dump.tar")
    assert "the key-value store is not dumped" in failed.stderr
    assert start(state, "flux kvs get kept").stdout == "yes\n"


def test_many_commits_ask_for_a_dump(state: Path) -> None:
    (state.parent / "kvs.toml").write_text("[kvs]\ngc-threshold = 1\n")
    script = "flux kvs put a=1 && flux kvs put a=2; flux shutdown; echo $?; flux shutdown -n --background; sleep 60"
    result = start(state, script, f"-c{state.parent / 'kvs.toml'}")
    assert "gc threshold exceeded, specify -y or -n" in result.stderr
    assert result.stdout == "1\n"
    assert not (state / "dump").exists()
    start(state, sleep_after("flux shutdown --yes --background"), f"-c{state.parent / 'kvs.toml'}")
    assert (state / "dump" / "RESTORE").is_symlink()


def test_other_kinds_of_archives_are_refused(state: Path) -> None:
    result = start(state, "flux dump kvs.zip; flux restore --key=k --size-limit=1.5X /dev/null")
    assert "archives of the kind .zip are not written" in result.stderr
    assert "1.5M" in result.stderr
