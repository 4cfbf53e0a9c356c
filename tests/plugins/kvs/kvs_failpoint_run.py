"""Faults at each failpoint of the store, one moment after the other, until there is no moment left.

`python tests/plugins/kvs/kvs_failpoint_run.py` goes through all of them; it exits with 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kvs_crash_run import STORE, Known, check_writer

import flux
from flux import kvs
from flux.constants import FLUX_KVS_SYNC
from flux.errors import FluxError
from flux.kvs import KVSTxn
from flux.kvs.check import Check
from flux.testing import Instance
from flux.testing.failpoints import POINTS

SQLITE = [name for name in POINTS if name.partition(".")[0] in ("kvs", "content", "sqlite") and name != "kvs.relay"]
"""The failpoints that rank 0 of an instance with nothing but a store can get to."""

NAME = "scenario"
MOST_TIMES = 200
KILLED = 128 + signal.SIGKILL


class Scenario:
    """Commits, now and then one that is synced, in one database over many instances.

    Args:
        statedir: of the database. args: further arguments of flux start.

    Attributes:
        known: what was acknowledged. number: of the last commit begun.
    """

    def __init__(self, statedir: Path, args: Sequence[str] = STORE) -> None:
        self.statedir = statedir
        self.args = args
        self.known = Known(0, 0)
        self.number = 0

    def run(self, failpoint: str = "", commits: int = 4) -> bool:
        """Start an instance, check what it finds, commit, and end it; gives whether rank 0 has lived through that.

        AssertionError when a promise is broken.
        """
        env: Mapping[str, str] = {"FLUX_FAILPOINT": failpoint} if failpoint else {}
        running = Instance(attrs={"statedir": str(self.statedir)}, args=self.args, env=env)
        try:
            running.start()
        except FluxError as exc:
            assert running.process.returncode == KILLED, exc
            return False
        alive = self._work(running, commits)
        if not alive:
            running.kill()
        elif running.stop() != 0:
            shutil.rmtree(running.rundir, ignore_errors=True)
            alive = False
        elif "error" not in failpoint:
            self.known = Known(self.known.seen, self.known.seen)
        return alive

    def _work(self, running: Instance, commits: int) -> bool:
        try:
            handle = flux.Flux(running.uri)
        except (ConnectionError, FileNotFoundError):
            return False
        try:
            with handle:
                self._check(handle)
                for _ in range(commits):
                    self.commit(handle)
        except ConnectionError:
            return False
        return True

    def _check(self, handle: Any) -> None:
        """What was acknowledged as on disk is there, what is there is of one moment, and every blob of it is whole."""
        present = self.number = self.known.synced
        if self.known.seen:
            if self.known.synced or kvs.exists(handle, NAME):
                present = check_writer(handle, NAME, self.known)
            self.known, self.number = Known(self.known.synced, present), present
        self._flush(handle)
        assert list(Check(handle).damages(kvs.getroot(handle)["rootref"])) == []

    def _flush(self, handle: Any) -> None:
        while True:
            try:
                handle.rpc("content.flush").get()
                return
            except ConnectionError:
                raise
            except FluxError as exc:
                assert "failpoint" in str(exc), exc

    def commit(self, handle: Any) -> None:
        """Commit the next number; every third is synced. What was acknowledged is read back."""
        self.number = number = self.number + 1
        txn = KVSTxn().put(f"{NAME}.k{number}", "x" * 80).put(f"{NAME}.last", number)
        flags = FLUX_KVS_SYNC if number % 3 == 0 else 0
        synced = bool(flags)
        try:
            kvs.commit(handle, flags, txn=txn.append(f"{NAME}.log", f"{number}\n"))
        except ConnectionError:
            self.known = Known(self.known.synced, number - 1)
            raise
        except FluxError as exc:
            assert synced and "failpoint" in str(exc), exc
            synced = False
        self.known = Known(number if synced else self.known.synced, number)
        assert kvs.get(handle, f"{NAME}.last") == number


def crash_everywhere(statedir: Path, point: str, args: Sequence[str] = STORE) -> int:
    """Crash at a failpoint the first time, the second time, … until the scenario passes untouched; gives the times."""
    scenario = Scenario(statedir, args)
    for time in range(1, MOST_TIMES):
        if scenario.run(f"{point}:crash@{time}"):
            scenario.run()
            return time - 1
    raise AssertionError(f"{point}: still crashing the {MOST_TIMES}th time")


def main() -> int:
    parser = argparse.ArgumentParser(description="Crash at every failpoint of the store, and look what is left.")
    parser.add_argument("points", nargs="*", default=SQLITE, metavar="NAME", help="failpoints (default: all)")
    problems = 0
    for point in parser.parse_args().points:
        with tempfile.TemporaryDirectory(prefix="failpoint-") as statedir:
            try:
                print(f"{point}: {crash_everywhere(Path(statedir), point)} crashes, no promise broken", flush=True)
            except AssertionError as exc:
                problems += 1
                print(f"{point}: {exc}", flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
