"""What `flux top` shows of one instance, and where its cursor is; knows nothing of terminals (flux-top(1))."""

from __future__ import annotations

import time

from flux.job.list import job_list
from flux.job.stats import JobStats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux
    from flux.job.info import JobInfo

__all__ = ["View"]

_RUNNING = 16 | 32
_MAX_JOBS = 200
_ATTRS = ["userid", "state", "result", "name", "ntasks", "nnodes", "nodelist", "t_run", "t_cleanup", "annotations"]
_ATTRS += ["expiration", "queue"]
_ANYBODY = 0xFFFFFFFF
_DOWN, _UP = ("j", "down"), ("k", "up")
_NEXT, _PREVIOUS = ("l", "right"), ("h", "left")


class View:
    """One instance.

    Args:
        queue: only this queue, None for all. path: ids of the jobs that lead to the instance.

    Attributes:
        jobs: those that run, the newest first. cursor: index into them, -1 while there are none.
        stats: how many there are. resources: counts by state, see `QueueInfo`. beats: heartbeats so far.
        details: show failed and successful jobs apart. expiration: seconds since the epoch, 0.0 for none.
    """

    def __init__(self, handle: Flux, queue: str | None, path: list[str]) -> None:
        self._handle = handle
        self.queue = queue
        self.path = path
        self.size = int(handle.attr_get("size"))
        self.version = handle.attr_get("version")
        self.depth = int(_attr(handle, "instance-level") or 0)
        self._began = float(handle.attr_get("broker.starttime"))
        self.jobs: list[JobInfo] = []
        self.cursor = -1
        self.beats = 0
        self.details = True
        self.stats = JobStats(handle)
        self.resources: Any = None
        self.expiration = 0.0
        self._queues: list[str | None] = [None]

    @property
    def uptime(self) -> float:
        """Seconds since the instance was started."""
        return time.time() - self._began

    def update(self) -> None:
        """Ask the instance anew. FluxError when it is gone."""
        from flux.queue import QueueList

        queues = QueueList(self._handle)
        names = [queue.name for queue in queues if queue.name]
        self._queues = [None, *names]
        self.stats = JobStats(self._handle, self.queue)
        try:
            self.stats.update_sync()
        except ValueError:  # no job has been in the queue yet: all counts stay 0
            pass
        self._update_resources(queues)
        selected = self.jobs[self.cursor].id if 0 <= self.cursor < len(self.jobs) else None
        wanted = job_list(self._handle, _MAX_JOBS, _ATTRS, userid=_ANYBODY, states=_RUNNING, queue=self.queue)
        self.jobs = list(wanted.get_jobinfos())
        ids = [job.id for job in self.jobs]
        self.cursor = ids.index(selected) if selected in ids else min(max(self.cursor, 0), len(ids) - 1)

    def _update_resources(self, queues: Any) -> None:
        from flux.resource import ResourceSet

        status = self._handle.rpc("resource.sched-status", nodeid=0).get()
        found = {name: ResourceSet(status[name]) for name in ("all", "down", "allocated")}
        self.expiration = found["all"].expiration
        if self.queue is not None:
            self.resources = {name: getattr(queues[self.queue].resources, name) for name in found}
        else:
            self.resources = found

    def press(self, key: str) -> JobInfo | None:
        """React to a key; gives the job that is to be opened, if that is what it means."""
        last = len(self.jobs) - 1
        if key in _DOWN:
            self.cursor = min(self.cursor + 1, last)
        elif key in _UP:
            self.cursor = max(self.cursor - 1, min(0, last))
        elif key in _NEXT or key in _PREVIOUS:
            at = self._queues.index(self.queue) if self.queue in self._queues else 0
            self.queue = self._queues[(at + (1 if key in _NEXT else -1)) % len(self._queues)]
            self.update()
        elif key == "d":
            self.details = not self.details
        elif key == "enter" and 0 <= self.cursor <= last and self.jobs[self.cursor].uri:
            return self.jobs[self.cursor]
        return None


def _attr(handle: Flux, name: str) -> str | None:
    try:
        return handle.attr_get(name)
    except OSError:  # not set in this instance
        return None
