"""How far several jobs have come, in a bar at the bottom of the terminal (manual page ``flux.job.watcher``)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from flux.job.info import JobInfo
from flux.progress import ProgressBar

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.job.event import EventLogEvent

__all__ = ["JobProgressBar", "JobStatus"]

_SIMPLE = {
    "NEW": "pending",
    "DEPEND": "pending",
    "PRIORITY": "pending",
    "SCHED": "pending",
    "RUN": "running",
    "CLEANUP": "running",
    "COMPLETED": "complete",
}


class JobStatus:
    """What has become of a job.

    Attributes:
        id: JobID. status: "pending", "running", "complete" or "failed". exitcode: once it has failed.
    """

    def __init__(self, job: JobInfo) -> None:
        if not isinstance(job, JobInfo):
            raise ValueError(f"expected a JobInfo, got {job!r}")
        self.id = job.id
        self.status = _SIMPLE.get(job.status, "failed")
        self.exitcode = int(job.returncode or 1) if self.status == "failed" else 0
        self._events: Counter[str] = Counter()

    @property
    def active(self) -> bool:
        """True until it has ended."""
        return self.status in ("pending", "running")

    def add_event(self, name: str) -> None:
        """Count an event."""
        self._events[name] += 1

    def event_count(self, name: str) -> int:
        """How often there was an event of that name."""
        return self._events[name]

    def has_event(self, name: str) -> bool:
        """True when there was one."""
        return name in self._events


class JobProgressBar(ProgressBar):
    """A bar that fills as jobs end.

    Args:
        flux_handle: whose reactor has it drawn.
        starttime: seconds since the epoch; default: when the first of the jobs was submitted.
        jps: show jobs per second in place of the time.
        counter_width: columns for each of the counters.
        update_interval: seconds after which it is drawn again at the latest.

    Attributes:
        jobs: JobStatus by id. pending, running, complete, failed: how many are.
    """

    def __init__(
        self,
        flux_handle: Flux,
        starttime: float | None = None,
        jps: bool = False,
        counter_width: int = 3,
        update_interval: float = 0.25,
    ) -> None:
        super().__init__(
            total=0,
            before="PD:{pending:<{width}} R:{running:<{width}} CD:{complete:<{width}} F:{failed:<{width}} ",
            after="{percent:5.1f}% " + ("{jps:4.1f} job/s" if jps else "{elapsed.dt}"),
            width=counter_width,
            jps=0.0,
            pending=0,
            running=0,
            complete=0,
            failed=0,
        )
        self.jobs: dict[int, JobStatus] = {}
        self._done: set[int] = set()
        self._t0 = starttime
        self._timer = flux_handle.timer_watcher_create(
            update_interval, lambda *_: self.redraw(), repeat=update_interval
        ).unref()

    def start(self) -> Self:
        self._timer.start()
        return super().start()

    def stop(self) -> None:
        self._timer.stop()
        super().stop()

    def add_jobs(self, *jobs: JobInfo) -> None:
        """Follow jobs. ValueError for one that is followed already."""
        for job in jobs:
            self.add_job(job)

    def add_job(self, job: JobInfo) -> None:
        """Follow a job."""
        status = JobStatus(job)
        if status.id in self.jobs:
            raise ValueError(f"job {status.id} is followed already")
        self._t0 = job.t_submit if self._t0 is None else min(self._t0, job.t_submit)
        self.jobs[status.id] = status
        self.total += 1
        self.update(advance=0, **{status.status: self.kwargs[status.status] + 1})

    def advance(self, **kwargs: Any) -> None:
        """Go on by one, and change values."""
        self.update(advance=1, **kwargs)

    def jobs_per_sec(self) -> float:
        """Jobs that have ended, by the second."""
        return self.count / max(self.elapsed, 0.001)

    def process_event(self, jobid: int, event: EventLogEvent | None = None) -> None:
        """Take an event of a job; None: there are no more that matter, the bar goes on by one."""
        job = self.jobs[jobid]
        if event is None:
            self._end(job)
        elif event.name == "alloc" and job.status == "pending":
            self._move(job, "running")
        elif event.name == "exception" and event.context["severity"] == 0 and job.status == "pending":
            self._move(job, "failed")
        elif event.name == "finish" and job.active:
            job.exitcode = event.context["status"]
            self._move(job, "failed" if job.exitcode else "complete")

    def _end(self, job: JobStatus) -> None:
        if job.id not in self._done:
            self._done.add(job.id)
            self.update()
            self.kwargs["jps"] = self.jobs_per_sec()

    def _move(self, job: JobStatus, status: str) -> None:
        before, job.status = job.status, status
        self.update(advance=0, **{before: self.kwargs[before] - 1, status: self.kwargs[status] + 1})
