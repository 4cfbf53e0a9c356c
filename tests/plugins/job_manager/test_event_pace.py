"""When the job manager commits events: at once while it is quiet, in few commits while it is busy."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from flux.testing import Instance
from flux_plugins.job_manager.writer import COMMIT_BURST, COMMIT_RATE, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_follows_a_quiet_time_need_not_wait() -> None:
    pace = Pace(100.0, 3.0, Clock())
    for _ in range(3):
        assert pace.wait() == 0.0
        pace.spend()
    assert pace.wait() > 0.0


@given(st.lists(st.floats(0.0, 0.1), min_size=50, max_size=200))
def test_commits_keep_the_rate_whatever_the_gaps(gaps: list[float]) -> None:
    clock = Clock()
    pace = Pace(100.0, 5.0, clock)
    for gap in gaps:
        clock.now += gap
        clock.now += pace.wait()
        pace.spend()
    assert len(gaps) <= 5.0 + 100.0 * clock.now + 1e-6


def test_jobs_that_run_take_no_more_commits_than_the_rate(instance: Callable[..., Instance]) -> None:
    running = instance(1)
    handle = running.handle()

    def eventlog() -> dict[str, int]:
        return handle.rpc("job-manager.stats-get").get()["eventlog"]

    def flux(*words: str) -> None:
        result = running.run("flux", *words)
        assert result.returncode == 0, result.stderr

    jobs = 200
    flux("queue", "stop")
    flux("submit", f"--cc=1-{jobs}", "--quiet", "--setattr=system.exec.test.run_duration=0.001s", "true")
    before, began = eventlog(), time.monotonic()
    flux("queue", "start")
    flux("queue", "drain")
    after, took = eventlog(), time.monotonic() - began
    assert after["events"] - before["events"] >= 6 * jobs
    assert after["commits"] - before["commits"] <= COMMIT_BURST + COMMIT_RATE * took + 5  # of requests to queues
