"""The bar of `flux watch --progress`: how many jobs wait, run, have succeeded and failed."""

from __future__ import annotations

import sys
import time

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.job.event import EventLogEvent

__all__ = ["JobProgress", "WatchProgress"]


class WatchProgress:
    """A bar at the bottom of the terminal, until it is closed.

    Args:
        total: how many jobs there are. since: when they began (seconds since the epoch). rate: show jobs per second.
    """

    def __init__(self, total: int, since: float, rate: bool) -> None:
        counts = TextColumn("PD:{task.fields[pending]} R:{task.fields[running]} [green]CD:{task.fields[completed_ok]} ")
        failed = TextColumn("[red]F:{task.fields[failed]}")
        last = TextColumn("{task.fields[rate]:.1f} job/s") if rate else TimeElapsedColumn()
        self._bar = Progress(counts, failed, BarColumn(), TaskProgressColumn(), last)
        self.counts = {"pending": total, "running": 0, "completed_ok": 0, "failed": 0}
        self._task = self._bar.add_task("", total=total, rate=0.0, **self.counts)
        task = self._bar.tasks[0]
        task.start_time = task.get_time() - max(0.0, time.time() - since)
        self.buffer = self
        self._written = b""
        self._bar.start()

    def move(self, old: str, new: str) -> None:
        """One job has left a count for another."""
        self.counts[old] -= 1
        self.counts[new] += 1
        ended = self.counts["completed_ok"] + self.counts["failed"]
        rate = ended / max(self._bar.tasks[0].elapsed or 0.0, 0.001)
        self._bar.update(self._task, completed=ended, rate=rate, **self.counts)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    # -- output of jobs, above the bar

    def write(self, data: bytes | str) -> int:
        self._written += data.encode() if isinstance(data, str) else data
        return len(data)

    def flush(self) -> None:
        written, self._written = self._written, b""
        sys.stdout.write(written.decode(errors="replace"))


class JobProgress:
    """What one job counts as; told of its events by `Attach`."""

    def __init__(self, progress: WatchProgress) -> None:
        self._progress = progress
        self._counted_as = "pending"

    def on_event(self, event: EventLogEvent) -> None:
        if event.name == "alloc":
            self._move("running")

    def ended(self, failed: bool) -> None:
        """The job is inactive."""
        self._move("failed" if failed else "completed_ok")

    def _move(self, count: str) -> None:
        self._progress.move(self._counted_as, count)
        self._counted_as = count

    def clear(self) -> None:
        """Nothing stands in the way of a line: the bar makes room by itself."""

    def close(self) -> None:
        """The bar goes on for the other jobs."""
