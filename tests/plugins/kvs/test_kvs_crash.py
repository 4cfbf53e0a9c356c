"""kill -9 of rank 0 at random moments under commit load: what was acknowledged as on disk is there (docs/promises.md).

`python tests/plugins/kvs/kvs_crash_run.py` is the same two hundred times.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from kvs_crash_run import run

KILLS = 10


@pytest.mark.timeout(300)
def test_each_restart_finds_a_consistent_root_with_all_that_was_synced(tmp_path: Path) -> None:
    report = run(tmp_path, KILLS, seed="4")
    assert report.problems == []
    assert report.kills == KILLS
