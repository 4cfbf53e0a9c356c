"""Let jobs run only where their queue is: the properties that `[queues.NAME] requires` (flux-config-queues(5))."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from flux.job.frobnicator import FrobnicatorPlugin
from flux.job.Jobspec import Jobspec

__all__ = ["Constraints"]


class Constraints(FrobnicatorPlugin):
    """The properties that a queue requires become constraints of its jobs"""

    def configure(self, args: argparse.Namespace, config: Mapping[str, Any]) -> None:
        queues: Mapping[str, Any] = config.get("queues") or {}
        self._requires = {name: _requires(name, queue, queues) for name, queue in queues.items()}

    def frob(self, jobspec: Jobspec, userid: int, urgency: int, flags: int) -> None:
        if jobspec.queue is None:
            return
        if jobspec.queue not in self._requires:
            raise ValueError(f"Invalid queue '{jobspec.queue}' specified")
        wanted = self._requires[jobspec.queue]
        if wanted:
            present = jobspec.attributes["system"].get("constraints")
            jobspec.setattr("system.constraints", _joined(present, wanted))


def _joined(present: dict[str, Any] | None, wanted: list[str]) -> dict[str, Any]:
    if not present:
        return {"properties": list(wanted)}
    if set(present) == {"properties"}:
        return {"properties": [*present["properties"], *(name for name in wanted if name not in present["properties"])]}
    return {"and": [present, {"properties": list(wanted)}]}


def _requires(name: str, queue: Mapping[str, Any], queues: Mapping[str, Any]) -> list[str]:
    parent = queue.get("parent")
    if parent is not None and parent not in queues:
        raise ValueError(f"queue '{name}': parent queue '{parent}' is not configured")
    found = (queue if parent is None else queues[parent]).get("requires") or []
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise ValueError(f"queue '{name}': requires must be an array of properties, not {found!r}")
    return found
