"""Crash rank 0 at a failpoint the first time it gets there, the second time, and so on, until no moment is left.

    class Jobs(Scenario):
        def work(self, handle):
            ...  # check what is found, then do more of it

    crash_everywhere(Jobs(statedir), "job-manager.commit")

See docs/guides/failpoints.md for the failpoints.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flux
from flux.errors import FluxError
from flux.testing import Instance

__all__ = ["Scenario", "crash_everywhere", "main"]

MOST_TIMES = 200
_KILLED = 128 + signal.SIGKILL


class Scenario(ABC):
    """What is done in one state directory over many instances, and what has to be true of it at each start.

    Args:
        statedir: of the instances. args: further arguments of flux start.
    """

    def __init__(self, statedir: Path, args: Sequence[str] = ()) -> None:
        self.statedir = statedir
        self.args = args

    @abstractmethod
    def work(self, handle: Any) -> None:
        """Check what an instance finds, then go on.

        AssertionError when a promise is broken; ConnectionError, which is none, when rank 0 has crashed.
        """

    def run(self, failpoint: str = "") -> bool:
        """Start an instance with FLUX_FAILPOINT set to that, work in it, and end it; False when rank 0 has crashed."""
        env = {"FLUX_FAILPOINT": failpoint} if failpoint else None
        running = Instance(attrs={"statedir": str(self.statedir)}, args=self.args, env=env)
        try:
            running.start()
        except FluxError as exc:
            assert running.process.returncode == _KILLED, exc
            return False
        if not self._work(running):
            running.kill()
            return False
        if running.stop() != 0:
            shutil.rmtree(running.rundir, ignore_errors=True)
            return False
        return True

    def _work(self, running: Instance) -> bool:
        try:
            handle = flux.Flux(running.uri)
        except (ConnectionError, FileNotFoundError):
            return False
        try:
            with handle:
                self.work(handle)
        except ConnectionError:
            return False
        return True


def crash_everywhere(scenario: Scenario, point: str) -> int:
    """Crash until the scenario passes untouched, and look once more at what is left; gives how often it crashed."""
    for time in range(1, MOST_TIMES):
        if scenario.run(f"{point}:crash@{time}"):
            assert scenario.run()
            return time - 1
    raise AssertionError(f"{point}: still crashing the {MOST_TIMES}th time")


def main(description: str, points: Sequence[str], scenario: Callable[[Path], Scenario]) -> int:
    """A command: crash everywhere at the failpoints named on its line, by default at all of `points`.

    Returns:
        The exit code: 1 when a promise was broken.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("points", nargs="*", default=points, metavar="NAME", help="failpoints (default: all)")
    problems = 0
    for point in parser.parse_args().points:
        with tempfile.TemporaryDirectory(prefix="failpoint-") as statedir:
            try:
                crashes = crash_everywhere(scenario(Path(statedir)), point)
                print(f"{point}: {crashes} crashes, no promise broken", flush=True)
            except AssertionError as exc:
                problems += 1
                print(f"{point}: {exc}", flush=True)
    return 1 if problems else 0
