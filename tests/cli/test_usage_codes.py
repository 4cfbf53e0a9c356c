"""A command line that makes no sense ends with the code that scripts know from stock Flux (flux(1), EXIT STATUS)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FLUX = str(Path(sys.executable).with_name("flux"))

# those that stock Flux has written with argparse, and one of ours
TWO = """admin alloc batch bulksubmit cancel fortune hostlist housekeeping job-exec-override jobs jobtap modprobe
pgrep pkill plugins post-job-event pstree queue resource run sproc submit update uri watch""".split()
ONE = """archive broker content cron event exec getattr job keygen kvs logger module overlay ping proxy setattr shutdown
start top""".split()


def usage(*words: str) -> tuple[int, str]:
    done = subprocess.run([FLUX, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(("name", "code"), [*((name, 2) for name in TWO), *((name, 1) for name in ONE)])
def test_an_unknown_option(name: str, code: int) -> None:
    found, told = usage(name, "--no-such-option")
    assert (found, told.startswith(f"usage: flux {name} ")) == (code, True), told


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("queue", 2),
        ("queue nosuch", 2),
        ("queue enable a b", 2),
        ("resource undrain", 2),
        ("jobs -c x", 2),
        ("jobs nosuchid!", 2),
        ("pstree nosuchid!", 2),
        ("cancel x", 2),
        ("uri", 2),
        ("cancel", 1),
        ("submit", 1),
        ("submit -n x true", 1),
        ("run", 1),
        ("run --urgency=x true", 1),
        ("kvs", 1),
        ("kvs nosuch", 1),
        ("module load", 1),
        ("start -s x", 1),
        ("keygen a b", 1),
    ],
)
def test_wrong_and_missing_words(line: str, code: int) -> None:
    found, told = usage(*line.split())
    assert (found, bool(told)) == (code, True), told
