"""Rank 0 crashes where a job is written: jobs on record are there after a restart, and come to an end.

`python tests/faults/job_failpoint_run.py` does that at every moment there is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from job_failpoint_run import Jobs


@pytest.mark.timeout(300)
def test_jobs_on_record_outlast_crashes(tmp_path: Path) -> None:
    scenario = Jobs(tmp_path)
    assert not scenario.run("job-manager.commit:crash@4")
    assert scenario.run()
    assert scenario.accepted
