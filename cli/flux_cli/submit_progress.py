"""The bar of --progress (flux-submit(1), flux-bulksubmit(1))."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["SubmitProgress"]


class SubmitProgress:
    """A bar at the bottom of the terminal, until it is closed.

    Args:
        total: how many jobs there are. what: what is done with them. rate: show jobs per second.
    """

    def __init__(self, total: int, what: str, rate: bool) -> None:
        last = TextColumn("{task.fields[rate]:.1f} job/s") if rate else TimeElapsedColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), last)
        failed = TextColumn("[red]{task.fields[failed]} failed")
        self._bar = Progress(*columns, failed)
        self._task = self._bar.add_task(f"{what} {total} jobs", total=total, rate=0.0, failed=0)
        self._failed = 0
        self._bar.start()

    def advance(self, failed: bool = False) -> None:
        """One job more has come that far."""
        self._failed += failed
        task = self._bar.tasks[0]
        rate = (task.completed + 1) / max(task.elapsed or 0, 0.001)
        self._bar.update(self._task, advance=1, rate=rate, failed=self._failed)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()
