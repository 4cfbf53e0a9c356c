"""kill -9 of rank 0 at random moments under commit load, as often as one likes.

`python tests/plugins/kvs/kvs_crash_run.py --kills 200` prints what was found; it exits with 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from kvs_kit import STORE

import flux
from flux import kvs
from flux.errors import FluxError
from flux.kvs.check import Check
from flux.testing import Instance

COMMITTER = str(Path(__file__).parent / "kvs_committer.py")
WRITERS = ("one", "two")


class Writer:
    """A committing process.

    Attributes:
        seen, synced: the highest number that was acknowledged, and acknowledged as on disk.
    """

    def __init__(self, uri: str, name: str) -> None:
        self.name = name
        self.seen = self.synced = 0
        self.begun = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, COMMITTER, uri, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            number, kind = line.split()
            self.seen = int(number)
            if kind == "synced":
                self.synced = self.seen
                self.begun.set()
        self.begun.set()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Known(NamedTuple):
    """What a writer knows: the highest number that was acknowledged as on disk, and the highest acknowledged."""

    synced: int
    seen: int


class Report(NamedTuple):
    """Outcome of a run.

    Attributes:
        kills: how often rank 0 was killed. objects: keys and directories that the checks went through.
        commits, lost: acknowledged in all; of those not acknowledged as on disk, how many were not there any more.
        problems: one line for each broken promise.
    """

    kills: int
    objects: int
    commits: int
    lost: int
    problems: list[str]


def check_writer(handle: Any, name: str, known: Known) -> int:
    """The directory is that of one moment, not before the last sync and not after the last commit begun; gives which.

    AssertionError says what is wrong.
    """
    last = int(kvs.get(handle, f"{name}.last"))
    assert known.synced <= last <= known.seen + 1, f"{name}: {last} is there, {known} was acknowledged"
    names = {"last", "log", *(f"k{number}" for number in range(1, last + 1))}
    assert set(kvs.get_dir(handle, name)) == names, f"{name}: the keys are not those of commit {last}"
    log = kvs.lookup_async(handle, f"{name}.log").value()
    assert log == b"".join(b"%d\n" % number for number in range(1, last + 1)), f"{name}: the log is not whole"
    return last


def load_and_kill(running: Instance, delay: float) -> dict[str, Known]:
    """Have writers commit, kill rank 0 when both have synced and delay seconds have gone by."""
    pid = running.broker_pid(0)
    writers = [Writer(running.uri, name) for name in WRITERS]
    try:
        for writer in writers:
            assert writer.begun.wait(60) and writer.synced, "the writer has failed"
        threading.Event().wait(delay)
        os.kill(pid, signal.SIGKILL)
    finally:
        for writer in writers:
            writer.end()
        running.kill()
    return {writer.name: Known(writer.synced, writer.seen) for writer in writers}


def run(statedir: Path, kills: int, seed: str) -> Report:
    """Start, check, load and kill in turn, all on one database."""
    dice = random.Random(seed)
    found: dict[str, Known] = {}
    begun = dict.fromkeys(WRITERS, 0)
    problems: list[str] = []
    objects = commits = lost = 0
    for turn in range(kills + 1):
        running = Instance(size=1, attrs={"statedir": str(statedir)}, args=STORE).start()
        try:
            with flux.Flux(running.uri) as handle:
                handle.rpc("content.flush").get()
                check = Check(handle)
                problems += [f"kill {turn}: {damage}" for damage in check.damages(kvs.getroot(handle)["rootref"])]
                objects += check.count
                for name, known in found.items():
                    last = check_writer(handle, name, known)
                    commits += known.seen - begun[name]
                    lost += max(0, known.seen - last)
                    begun[name] = last
        except (AssertionError, FluxError) as exc:
            problems.append(f"kill {turn}: {exc}")
        if problems or turn == kills:
            running.stop()
            return Report(turn, objects, commits, lost, problems)
        found = load_and_kill(running, dice.uniform(0, 0.2))
    raise AssertionError("a run ends with its last check")


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill rank 0 under commit load, and look what a restart finds.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", default="4")
    args = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kvs-crash-") as statedir:
        report = run(Path(statedir), args.kills, args.seed)
    for name, value in report._asdict().items():
        print(f"{name}: {value}")
    print(f"seconds: {time.monotonic() - begin:.0f}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
