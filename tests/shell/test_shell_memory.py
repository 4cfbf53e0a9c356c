"""What a shell holds in memory while much goes through it (flux-shell(1))."""

from __future__ import annotations

import gc
import re
import subprocess
import weakref
from pathlib import Path

import pytest

from flux.kvs.patient import PatientCommit
from flux.kvs.txn import KVSTxn
from flux.testing import Instance

SIZE = 32 << 20
BOUND = 48 << 10
"""Kilobytes that a shell may have had at most: about half is itself."""

pytestmark = pytest.mark.timeout(240)


def test_input_and_output_through_the_kvs_do_not_stay_in_the_shell(tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_bytes(bytes(range(256)) * (SIZE >> 8))
    with Instance(1) as instance, source.open("rb") as stdin, (tmp_path / "output").open("wb") as stdout:
        words = ["flux", "run", "sh", "-c", "cat; grep VmHWM /proc/$PPID/status >&2"]
        result = instance.run(
            *words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, capture_output=False, timeout=200
        )
    assert (tmp_path / "output").read_bytes() == source.read_bytes()
    found = re.fullmatch(r"VmHWM:\s+(\d+) kB\n", result.stderr)
    assert found is not None, result.stderr
    assert int(found[1]) < BOUND


def test_a_commit_is_gone_once_it_is_done() -> None:
    with Instance(1) as instance:
        handle = instance.handle()
        gc.disable()
        try:
            gone = weakref.ref(PatientCommit(handle, KVSTxn().put("a", 1)).then(lambda commit: commit.get()))
            handle.reactor_run()
            assert gone() is None
        finally:
            gc.enable()
