"""Jobs as lines, in colour, and how many there are (flux-jobs(1))."""

from __future__ import annotations

import sys

from flux_cli.common import die

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.info import JobInfo
    from flux.job.info_format import JobInfoFormat

__all__ = ["print_stats", "print_table"]

_COLOURS = {"FAILED": "\033[01;31m", "TIMEOUT": "\033[01;31m", "CANCELED": "\033[37m", "COMPLETED": "\033[01;32m"}
_INSTANCE, _RESET = "\033[01;34m", "\033[0;0m"


def print_stats(handle: Flux, queues: list[str]) -> int:
    """Print how many jobs there are, of some queues or of all; gives how many are active."""
    from flux.job.stats import JobStats

    if len(queues) > 1:
        die("--queue: statistics are of one queue, or of all")
    stats = JobStats(handle, queues[0] if queues else None)
    try:
        stats.update_sync()
    except ValueError as exc:
        die(f"error retrieving job stats: {exc}")
    print(
        f"{stats.running} running, {stats.successful} completed, {stats.failed} failed, "
        f"{stats.pending} pending, {stats.inactive_purged} inactive purged"
    )
    return stats.active


def print_table(jobs: list[JobInfo], formatter: JobInfoFormat, width: int, coloured: bool) -> None:
    """Print the lines of jobs, in the colour of what has become of them."""
    if not coloured:
        formatter.print_items(jobs, no_header=True, width=width)
        return

    def before(job: JobInfo) -> None:
        sys.stdout.write(_COLOURS.get(job.result) or (_INSTANCE if job.uri else ""))

    def after(job: JobInfo) -> None:
        sys.stdout.write(_RESET if job.result or job.uri else "")

    formatter.print_items(jobs, no_header=True, width=width, pre=before, post=after)
