"""A short run of the fuzzer of the overlay port, with a fixed seed: no peer keeps a good child from joining."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fuzz.fuzz_overlay import run


def test_hostile_peers_keep_nobody_out(tmp_path: Path) -> None:
    assert asyncio.run(run(str(tmp_path), 30.0, 60, 3)) > 0
