"""Give jobs the defaults of `[policy.jobspec.defaults.system]`, and those of their queue (flux-config-policy(5))."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from flux.job.frobnicator import FrobnicatorPlugin
from flux.job.Jobspec import Jobspec

__all__ = ["Defaults"]


class Defaults(FrobnicatorPlugin):
    """A queue, a time limit and other attributes for jobs that name none"""

    def configure(self, args: argparse.Namespace, config: Mapping[str, Any]) -> None:
        self._queues: Mapping[str, Any] = config.get("queues") or {}
        if not isinstance(self._queues, Mapping):
            raise ValueError("queues must be a table")
        general = _defaults("policy", config)
        self._by_queue: dict[str | None, dict[str, Any]] = {None: general}
        for name, queue in self._queues.items():
            self._by_queue[name] = {**general, **_inherited(name, queue, self._queues), **_defaults(name, queue)}
        self._queue: str | None = general.get("queue")
        if self._queue is not None and self._queue not in self._queues:
            raise ValueError(f"default queue '{self._queue}' must be in [queues]")

    def frob(self, jobspec: Jobspec, userid: int, urgency: int, flags: int) -> None:
        queue = jobspec.queue or self._queue
        if self._queues and queue is None:
            raise ValueError("no queue specified")
        if queue not in self._by_queue and self._queues:
            raise ValueError(f"Invalid queue '{queue}' specified")
        system = jobspec.attributes.get("system", {})
        for name, value in self._by_queue[queue if self._queues else None].items():
            if name == "duration":
                jobspec.duration = jobspec.duration or value
            elif name not in system:
                jobspec.setattr(f"system.{name}", value)


def _defaults(where: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """`policy.jobspec.defaults.system` of a table, {} when there is none."""
    for key in ("policy", "jobspec", "defaults", "system"):
        table = table.get(key) or {}
        if not isinstance(table, Mapping):
            raise ValueError(f"{where}: {key} must be a table")
    return dict(table)


def _inherited(name: str, queue: Mapping[str, Any], queues: Mapping[str, Any]) -> dict[str, Any]:
    parent = queue.get("parent")
    if parent is None:
        return {}
    if parent not in queues:
        raise ValueError(f"queue '{name}': parent queue '{parent}' is not configured")
    return _defaults(parent, queues[parent])
