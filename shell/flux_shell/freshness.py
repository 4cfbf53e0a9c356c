"""Whether what this process has imported is still what is installed."""

from __future__ import annotations

import os
import sys
import time

__all__ = ["ImportedCode"]

INTERVAL = 1.0
"""Seconds between two looks."""
SETTLED = 2.0
"""Seconds that nothing has changed any more, before it is used: an upgrade is made of many files."""

Stamps = dict[str, tuple[int, int]]


class ImportedCode:
    """The source files of all that is imported now, and the directories in which packages are installed."""

    def __init__(self) -> None:
        files = [getattr(module, "__file__", None) for module in sys.modules.values()]
        installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        self._paths = [path for path in [*files, *installed] if path and os.path.isabs(path)]
        self._stamps, _ = self._look()
        self._next = time.monotonic() + INTERVAL

    def is_outdated(self) -> bool:
        """True when there is other code since a while; told once of each change."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + INTERVAL
        stamps, latest = self._look()
        if stamps == self._stamps or latest > time.time() - SETTLED:
            return False
        self._stamps = stamps
        return True

    def _look(self) -> tuple[Stamps, float]:
        """What files and directories are like, and when one of them changed last."""
        stamps: Stamps = {}
        latest = 0.0
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                continue
            stamps[path] = (found.st_mtime_ns, found.st_size)
            latest = max(latest, found.st_ctime)
        return stamps, latest
