"""Queues: where jobs are submitted to and whether they get resources from there (RFC 33, flux-queue(1)).

Without queues in the configuration there is one, which has no name.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flux.errors import FluxError
from flux_plugins.job_manager.job import Job
from flux_plugins.job_manager.payloads import QueueEnable, QueueStart

__all__ = ["Queue", "Queues", "check_config"]

ANONYMOUS = ""
STOPPED_BY_RESTART = "Automatically stopped due to restart"


class Queue:
    """One queue. enable: takes jobs. start: jobs get resources, if those of its parent do.

    Attributes:
        parent: the queue whose resources a virtual queue shares; None for any other.
        requires: names of properties that its resources have; of a virtual queue, its parent's.
    """

    __slots__ = ("_kept", "disable_reason", "enable", "name", "parent", "requires", "start", "stop_reason")

    def __init__(self, name: str = ANONYMOUS) -> None:
        self.name = name
        self.enable = True
        self.start = name == ANONYMOUS
        self.disable_reason = ""
        self.stop_reason = ""
        self.parent: Queue | None = None
        self.requires: list[str] = []
        self._kept: dict[str, Any] | None = None

    @property
    def is_started(self) -> bool:
        return self.start and (self.parent is None or self.parent.start)

    def status(self, scheduling: bool = True) -> dict[str, Any]:
        """What `queue-status` answers (RFC 33). scheduling: there is a scheduler."""
        status: dict[str, Any] = {"enable": self.enable, "start": scheduling and self.is_started}
        if self.parent is not None:
            status["parent"] = self.parent.name
        if self.start and not status["start"]:
            status["blocked"] = "parent" if scheduling else "scheduler"
        if not self.enable:
            status["disable_reason"] = self.disable_reason
        reason = self._why_stopped(scheduling)
        if not status["start"] and reason:
            status["stop_reason"] = reason
        return status

    def _why_stopped(self, scheduling: bool) -> str:
        if not scheduling:
            return "Scheduler is offline"
        if self.start and self.parent is not None:
            return f"parent queue '{self.parent.name}' is stopped"
        return self.stop_reason

    def set_enable(self, enable: bool, reason: str, keep: bool) -> None:
        """Take jobs or not. keep: also after a restart."""
        self._changing(("enable", "disable_reason"), keep)
        self.enable = enable
        self.disable_reason = "" if enable else reason

    def set_start(self, start: bool, reason: str, keep: bool) -> None:
        """Let jobs get resources or not. keep: also after a restart."""
        self._changing(("start", "stop_reason"), keep)
        self.start = start
        self.stop_reason = "" if start else reason

    def _changing(self, fields: Iterable[str], keep: bool) -> None:
        kept = self._kept or {}
        for field in fields:
            if keep:
                kept.pop(field, None)
            else:
                kept.setdefault(field, getattr(self, field))
        self._kept = kept or None

    def save(self) -> dict[str, Any]:
        """What a restart finds again."""
        state: dict[str, Any] = {"name": self.name} if self.name else {}
        for field in ("enable", "start", "disable_reason", "stop_reason"):
            value = (self._kept or {}).get(field, getattr(self, field))
            if isinstance(value, bool) or value:
                state[field] = value
        return state

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.enable = bool(saved.get("enable", True))
        self.start = bool(saved.get("start", True))
        self.disable_reason = str(saved.get("disable_reason", ""))
        self.stop_reason = str(saved.get("stop_reason", ""))


class Queues:
    """All queues of the instance.

    Args:
        on_start, on_stop: called with the name of a queue whose jobs may get resources from now on, or no more.
    """

    def __init__(self, on_start: Callable[[str], None], on_stop: Callable[[str], None]) -> None:
        self._on_start = on_start
        self._on_stop = on_stop
        self._queues: dict[str, Queue] = {ANONYMOUS: Queue()}
        self._stop_on_restart = False

    def configure(self, conf: Mapping[str, Any]) -> None:
        """Take the queues of the configuration; those that are there keep their state. A new named one is stopped.

        Raises:
            FluxError: EINVAL; the queues stay as they are.
        """
        tables = conf.get("queues") or {}
        self._stop_on_restart = check_config(conf)
        names = list(tables) or [ANONYMOUS]
        self._queues = {name: self._queues.get(name) or Queue(name) for name in names}
        for name, table in tables.items():
            parent = table.get("parent")
            self._queues[name].parent = self._queues[parent] if parent else None
            self._queues[name].requires = list(tables[parent or name].get("requires") or ())

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
        return queue is not None and queue.is_started

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

    def _selected(self, name: str | None, all: bool) -> list[Queue]:
        if name is not None:
            return [self.get(name)]
        if len(self._queues) > 1 and not all:
            raise FluxError(errno.EINVAL, "Use --all to apply this command to all queues")
        return list(self._queues.values())

    def enable(self, req: QueueEnable) -> None:
        """Let queues take jobs, or not; a reason is needed not to."""
        if not req.enable and req.reason is None:
            raise FluxError(errno.EINVAL, "reason is required for disable")
        for queue in self._selected(req.name, req.all):
            queue.set_enable(req.enable, req.reason or "", not req.nocheckpoint)

    def start(self, req: QueueStart) -> None:
        """Let jobs of queues get resources, or not; those of virtual queues only when both they and their parent do."""
        was_started = {name for name, queue in self._queues.items() if queue.is_started}
        for queue in self._selected(req.name, req.all):
            queue.set_start(req.start, req.reason or "", not req.nocheckpoint)
        for name, queue in self._queues.items():
            if queue.is_started and name not in was_started:
                self._on_start(name)
            elif not queue.is_started and name in was_started:
                self._on_stop(name)

    def save(self) -> list[dict[str, Any]]:
        """The state that a restart keeps."""
        return [queue.save() for queue in self._queues.values()]

    def restore(self, saved: list[Mapping[str, Any]]) -> None:
        """Take back what `save` gave, for the queues that are still there; by configuration, stopped."""
        for entry in saved:
            queue = self._queues.get(entry.get("name", ANONYMOUS))
            if queue is not None:
                queue.restore(entry)
                if queue.start and self._stop_on_restart:
                    queue.set_start(False, STOPPED_BY_RESTART, True)


def queue_attribute(jobspec: Mapping[str, Any]) -> str | None:
    """attributes.system.queue, None when it is not set."""
    system = (jobspec.get("attributes") or {}).get("system") or {}
    queue = system.get("queue")
    return None if queue is None else str(queue)


def check_config(conf: Mapping[str, Any]) -> bool:
    """Check `[queues]` and give `job-manager.stop-queues-on-restart`. FluxError EINVAL when something is wrong."""
    tables = conf.get("queues") or {}
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise FluxError(errno.EINVAL, f"queue {name}: configuration must be a table")
        requires = table.get("requires", [])
        if not isinstance(requires, list) or not all(isinstance(item, str) for item in requires):
            raise FluxError(errno.EINVAL, f"queues.{name}.requires must be an array of property names")
        if "parent" in table:
            _check_parent(name, table, tables)
    stop = (conf.get("job-manager") or {}).get("stop-queues-on-restart", False)
    if not isinstance(stop, bool):
        raise FluxError(errno.EINVAL, f"job-manager.stop-queues-on-restart must be true or false, not {stop!r}")
    return stop


def _check_parent(name: str, table: Mapping[str, Any], tables: Mapping[str, Any]) -> None:
    parent = table["parent"]
    if not isinstance(parent, str):
        problem = "'parent' must be a string"
    elif parent == name:
        problem = "parent queue is itself"
    elif parent not in tables:
        problem = f"parent queue '{parent}' is not configured"
    elif "parent" in tables[parent]:
        problem = f"parent queue '{parent}' is itself a virtual queue"
    elif "requires" in table:
        problem = "a virtual queue cannot set 'requires', it has its parent's resources"
    else:
        return
    raise FluxError(errno.EINVAL, f"queue '{name}': {problem}")
