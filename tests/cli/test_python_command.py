"""`flux python`: the interpreter of this Flux (flux-python(1))."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flux
from flux_cli.cmd.python import command

FLUX = str(Path(sys.executable).with_name("flux"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLUX, "python", *words], capture_output=True, text=True, timeout=60)


def test_a_program() -> None:
    done = run("-c", "import flux, sys; print(flux.__file__, sys.argv[1:])", "--get-path", "x y")
    assert done.stdout == f"{flux.__file__} ['--get-path', 'x y']\n", done.stderr


def test_exit_code() -> None:
    assert run("-c", "raise SystemExit(7)").returncode == 7


def test_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--get-path"]) == command(["--list-versions"]) == 0
    path, version = capsys.readouterr().out.splitlines()
    assert (Path(path) / "flux" / "__init__.py").is_file()
    assert version == f"python{sys.version_info.major}.{sys.version_info.minor}"
