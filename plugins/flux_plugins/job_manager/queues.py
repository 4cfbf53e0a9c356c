"""Queues: where jobs are submitted to and whether they get resources from there (RFC 33, flux-queue(1)).

Without queues in the configuration there is one, which has no name.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Any

from flux.errors import FluxError
from flux_plugins.job_manager.machine import Job
from flux_plugins.job_manager.payloads import QueueEnable, QueueStart

__all__ = ["Queue", "Queues"]

ANONYMOUS = ""


class Queue:
    """One queue. enable: takes jobs. start: jobs get resources."""

    __slots__ = ("disable_reason", "enable", "start", "stop_reason")

    def __init__(self, start: bool = True) -> None:
        self.enable = True
        self.start = start
        self.disable_reason = ""
        self.stop_reason = ""

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = {"enable": self.enable, "start": self.start}
        if not self.enable:
            status["disable_reason"] = self.disable_reason
        if not self.start and self.stop_reason:
            status["stop_reason"] = self.stop_reason
        return status

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.enable = bool(saved.get("enable", True))
        self.start = bool(saved.get("start", True))
        self.disable_reason = str(saved.get("disable_reason", ""))
        self.stop_reason = str(saved.get("stop_reason", ""))


class Queues:
    """All queues of the instance.

    Args:
        on_start, on_stop: called with the name of a queue that was started or stopped.
    """

    def __init__(self, on_start: Callable[[str], None], on_stop: Callable[[str], None]) -> None:
        self._on_start = on_start
        self._on_stop = on_stop
        self._queues: dict[str, Queue] = {ANONYMOUS: Queue()}

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take the queues of the configuration; those that are there keep their state. A new named one is stopped."""
        names = list(conf.get("queues") or {})
        if names:
            self._queues = {name: self._queues.get(name) or Queue(start=False) for name in names}
        else:
            self._queues = {ANONYMOUS: self._queues.get(ANONYMOUS) or Queue()}

    @property
    def names(self) -> list[str]:
        """Names of the queues; empty when there is only the anonymous one."""
        return [name for name in self._queues if name != ANONYMOUS]

    def name_of(self, job: Job) -> str:
        """The queue a job is in."""
        if ANONYMOUS in self._queues:
            return ANONYMOUS
        return str(queue_attribute(job.jobspec) or ANONYMOUS)

    def is_started(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.start

    def admit(self, jobspec: Mapping[str, Any]) -> None:
        """May a job be submitted to the queue its jobspec names? FluxError EINVAL when not."""
        name = queue_attribute(jobspec)
        queue = self.get(name)
        if not queue.enable:
            where = f" to {name}" if name else ""
            reason = f": {queue.disable_reason}" if queue.disable_reason else ""
            raise FluxError(errno.EINVAL, f"job submission{where} is disabled{reason}")

    def get(self, name: str | None) -> Queue:
        """A queue by its name, None for the anonymous one. FluxError EINVAL."""
        if name is None:
            if ANONYMOUS not in self._queues:
                raise FluxError(errno.EINVAL, "a named queue is required")
            return self._queues[ANONYMOUS]
        if name == ANONYMOUS or name not in self._queues:
            raise FluxError(errno.EINVAL, f"'{name}' is not a valid queue")
        return self._queues[name]

    def _selected(self, name: str | None, all: bool) -> dict[str, Queue]:
        if name is not None:
            return {name: self.get(name)}
        if len(self._queues) > 1 and not all:
            raise FluxError(errno.EINVAL, "Use --all to apply this command to all queues")
        return self._queues

    def enable(self, req: QueueEnable) -> None:
        """Let queues take jobs, or not; a reason is needed not to."""
        if not req.enable and req.reason is None:
            raise FluxError(errno.EINVAL, "a reason is required to disable job submission")
        for queue in self._selected(req.name, req.all).values():
            queue.enable = req.enable
            queue.disable_reason = "" if req.enable else req.reason or ""

    def start(self, req: QueueStart) -> None:
        """Let jobs of queues get resources, or not."""
        for name, queue in self._selected(req.name, req.all).items():
            queue.start = req.start
            queue.stop_reason = "" if req.start else req.reason or ""
            (self._on_start if req.start else self._on_stop)(name)

    def save(self) -> list[dict[str, Any]]:
        """The state that a restart keeps."""
        return [({"name": name} if name else {}) | queue.status() for name, queue in self._queues.items()]

    def restore(self, saved: list[Mapping[str, Any]]) -> None:
        """Take back what `save` gave, for the queues that are still there."""
        for entry in saved:
            queue = self._queues.get(entry.get("name", ANONYMOUS))
            if queue is not None:
                queue.restore(entry)


def queue_attribute(jobspec: Mapping[str, Any]) -> str | None:
    """attributes.system.queue, None when it is not set."""
    system = (jobspec.get("attributes") or {}).get("system") or {}
    queue = system.get("queue")
    return None if queue is None else str(queue)
