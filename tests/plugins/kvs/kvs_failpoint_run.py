"""Faults at each failpoint of the store, one moment after the other, until there is no moment left.

`python tests/plugins/kvs/kvs_failpoint_run.py` goes through all of them; it exits with 1 when anything was wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kvs_crash_run import Known, check_writer
from kvs_kit import STORE

from flux import kvs
from flux.constants import FLUX_KVS_SYNC
from flux.errors import FluxError
from flux.kvs import KVSTxn
from flux.kvs.check import Check
from flux.testing.crashes import Scenario, main
from flux.testing.failpoints import POINTS

SQLITE = [name for name in POINTS if name.partition(".")[0] in ("kvs", "content", "sqlite") and name != "kvs.relay"]
"""The failpoints that rank 0 of an instance with nothing but a store can get to."""

NAME = "scenario"


class Commits(Scenario):
    """Commits, now and then one that is synced, in one database over many instances.

    Args:
        statedir: of the database. args: further arguments of flux start.

    Attributes:
        known: what was acknowledged. number: of the last commit begun. commits: how many a run makes.
    """

    def __init__(self, statedir: Path, args: Sequence[str] = STORE) -> None:
        super().__init__(statedir, args)
        self.known = Known(0, 0)
        self.number = 0
        self.commits = 4

    def run(self, failpoint: str = "") -> bool:
        alive = super().run(failpoint)
        if alive and "error" not in failpoint:
            self.known = Known(self.known.seen, self.known.seen)
        return alive

    def work(self, handle: Any) -> None:
        self._check(handle)
        for _ in range(self.commits):
            self.commit(handle)

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


if __name__ == "__main__":
    sys.exit(main("Crash at every failpoint of the store, and look what is left.", SQLITE, Commits))
