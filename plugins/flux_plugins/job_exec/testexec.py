"""Test execution: a job without shells, whose course its jobspec tells (attributes.system.exec.test)."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux_plugins.job_exec.protocol import seconds
from flux_plugins.job_exec.shells import Listener

__all__ = ["TestExec", "TestPlan", "read_plan"]


class TestPlan(msgspec.Struct, frozen=True):
    """What a test job does.

    Attributes:
        run_duration: seconds that it runs; None for the job's time limit, which it reaches when that is 0.
        wait_status: it ends with.
        mock_exception: "init" or "run": raise a fatal exception at that point.
        override: start and finish when `job-exec.override` says so.
    """

    run_duration: float | None = None
    wait_status: int = 0
    mock_exception: str = ""
    override: bool = False


def read_plan(system: Mapping[str, Any]) -> TestPlan | None:
    """The plan in a jobspec's system attributes; None for a real job. FluxError EINVAL names what is wrong."""
    test = (system.get("exec") or {}).get("test")
    if test is None:
        return None
    if not isinstance(test, dict):
        raise FluxError(errno.EINVAL, "attributes.system.exec.test is not an object")
    duration = test.get("run_duration", system.get("duration") or None)
    try:
        return TestPlan(
            run_duration=None if duration is None else seconds(duration),
            wait_status=int(test.get("wait_status", 0)),
            mock_exception=str(test.get("mock_exception", "")),
            override=bool(test.get("override", False)),
        )
    except (ValueError, TypeError) as exc:
        raise FluxError(errno.EINVAL, f"attributes.system.exec.test: {exc}") from None


class TestExec:
    """Stands for the shells of one job.

    Args:
        fail: called with a text to raise a fatal exception.
    """

    component = "testexec"

    def __init__(self, flux: AsyncFlux, plan: TestPlan, listener: Listener, fail: Callable[[str], None]) -> None:
        self._flux = flux
        self._plan = plan
        self._listener = listener
        self._fail = fail
        self._ranks: Sequence[int] = ()
        self._timer: Any = None
        self._running = False
        self._ended = False

    def launch(self, ranks: Sequence[int]) -> None:
        """Begin to run, unless that is to be told."""
        self._ranks = ranks
        if self._plan.mock_exception == "init":
            self._flux.call_soon(lambda: self._fail("mock initialization exception generated"))
            self._flux.call_soon(lambda: self._end(1 << 8))
        elif not self._plan.override:
            self._flux.call_soon(self._start)

    def resume(self, ranks: Sequence[int], started: bool, began: float) -> None:
        """Go on with a job that began so many seconds after the epoch."""
        if not started:
            self.launch(ranks)
            return
        self._ranks, self._running = ranks, True
        if ranks and self._plan.run_duration is not None and not self._plan.override:
            left = max(0.0, began + self._plan.run_duration - time.time())
            self._timer = self._flux.call_later(left, lambda: self._end(self._plan.wait_status))

    def let_go(self) -> None:
        """Do nothing any more."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        self._running = True
        for rank in self._ranks:
            self._listener.shell_started(rank)
        if self._plan.mock_exception == "run":
            self._fail("mock run exception generated")
        elif self._plan.run_duration is not None and not self._plan.override:
            self._timer = self._flux.call_later(self._plan.run_duration, lambda: self._end(self._plan.wait_status))

    def _end(self, status: int) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        *others, last = self._ranks
        for rank in others:
            self._listener.shell_exited(rank, 0)
        self._listener.shell_exited(last, status)

    def override(self, event: str, status: int) -> None:
        """Start or finish now. FluxError EINVAL when the job is not one to be told, or not at that point."""
        if not self._plan.override:
            raise FluxError(errno.EINVAL, "job was not submitted with attributes.system.exec.test.override")
        if event == "start" and not self._running:
            self._start()
        elif event == "finish" and self._running and not self._ended:
            self._end(status)
        else:
            where = "has finished" if self._ended else "is running" if self._running else "has not started"
            raise FluxError(errno.EINVAL, f"invalid event {event!r} for a job that {where}")

    def kill(self, signum: int, ranks: Sequence[int]) -> None:
        """End as if killed."""
        self._flux.call_soon(lambda: self._end(signum))

    def signal_tasks(self, jobid: int, signum: int) -> None:
        """End as if its tasks were killed."""
        self.kill(signum, self._ranks)
