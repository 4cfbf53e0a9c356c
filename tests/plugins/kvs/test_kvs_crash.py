"""kill -9 of rank 0 at random moments under commit load: what was acknowledged as on disk is there (docs/promises.md).

FLUX_TEST_CRASHES sets how often, 10 by default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from flux import kvs
from flux.kvs import treeobj
from flux.kvs.pipeline import load_dirs, refuse
from flux.testing import Instance

STORE = [f"--plugins={Path(__file__).parent / 'store.toml'}"]
COMMITTER = str(Path(__file__).parent / "kvs_committer.py")
WRITERS = ("one", "two")
CRASHES = int(os.environ.get("FLUX_TEST_CRASHES", "10"))


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


def crash(statedir: Path, delay: float) -> dict[str, tuple[int, int]]:
    """Run an instance under load and kill rank 0; gives (synced, seen) of each writer."""
    running = Instance(size=1, attrs={"statedir": str(statedir)}, args=STORE).start()
    pid = running.broker_pid(0)
    writers = [Writer(running.uri, name) for name in WRITERS]
    try:
        for writer in writers:
            assert writer.begun.wait(30)
            assert writer.synced, "the writer has failed"
        threading.Event().wait(delay)
        os.kill(pid, signal.SIGKILL)
    finally:
        for writer in writers:
            writer.end()
        running.kill()
    return {writer.name: (writer.synced, writer.seen) for writer in writers}


def check(handle: Any, name: str, synced: int, seen: int) -> None:
    """The directory is that of one moment, not before the last sync and not after the last commit begun."""
    last = kvs.get(handle, f"{name}.last")
    assert synced <= last <= seen + 1
    directory = kvs.get_dir(handle, name)
    assert set(directory) == {"last", "log", *(f"k{number}" for number in range(1, last + 1))}
    log = kvs.lookup_async(handle, f"{name}.log").value()
    assert log == b"".join(b"%d\n" % number for number in range(1, last + 1))


def whole_tree(handle: Any) -> int:
    """Load every directory; gives how many there are. FluxError when one is missing or damaged."""
    level, count = [("", kvs.getroot(handle)["rootref"])], 0
    while level:
        below = []
        for key, _ref, entries in load_dirs(handle, level, 16, refuse):
            count += 1
            for name, entry in entries.items():
                treeobj.validate(entry)
                if entry["type"] == "dirref":
                    below.append((f"{key}.{name}", entry["data"][0]))
        level = below
    return count


def test_each_restart_finds_a_consistent_root_with_all_that_was_synced(tmp_path):
    dice = random.Random(os.environ.get("FLUX_TEST_SEED", "4"))
    for _ in range(CRASHES):
        found = crash(tmp_path, dice.uniform(0, 0.2))
        with Instance(size=1, attrs={"statedir": str(tmp_path)}, args=STORE) as running:
            handle = running.handle()
            assert whole_tree(handle) >= 1 + len(WRITERS)
            for name, (synced, seen) in found.items():
                check(handle, name, synced, seen)
