"""Brokers are killed at random, interior ones and leaves, while the others work: nobody may notice but their callers.

`python tests/faults/storm_run.py` is the same for as long and with as many brokers as one likes.
"""

from __future__ import annotations

import pytest
from storm_run import FANOUT, Report, instance_of, run_storm

SECONDS, BROKERS, SURVIVORS, SEED = 10.0, 12, 5, 1
MEMORY_GROWTH = 24 << 20


@pytest.mark.timeout(300)
def test_survivors_of_a_storm_miss_nothing() -> None:
    with instance_of(BROKERS) as instance:
        report: Report = run_storm(instance, SECONDS, SURVIVORS, SEED)
    assert report.problems == []
    assert report.misplaced() == [], f"{report.parents} in a tree of fanout {FANOUT}"
    assert all(growth < MEMORY_GROWTH for growth in report.growth.values()), report.growth
    assert report.answered and report.processes and report.jobs
