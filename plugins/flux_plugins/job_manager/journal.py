"""The events journal: every job's events as they are posted, for job-list and whoever else follows them.

Events of one job in one turn of the loop go out in one response. They are sent before they are committed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

from flux.message import Message
from flux.module import Module, Subscribers
from flux_plugins.job_manager.job import Event, Job
from flux_plugins.job_manager.payloads import EventsJournal

__all__ = ["Journal"]

SENTINEL = {"id": -1, "events": []}
Wanted = Callable[[str], bool]


class Journal:
    """Listeners of job events.

    Args:
        module: the module whose `events-journal` requests are answered.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._listeners = Subscribers(module, self._dropped)
        self._filters: dict[tuple[str, int], Wanted] = {}
        self._pending: dict[int, dict[str, Any]] = {}
        self._scheduled = False
        self.events = 0

    def publish(self, job: Job, event: Event) -> None:
        """Tell all listeners about an event; `jobspec` goes with submit, `R` with alloc."""
        self.events += 1
        if not len(self._listeners):
            return
        entry = self._pending.get(job.id)
        if entry is None:
            entry = self._pending[job.id] = {"id": job.id, "events": []}
        entry["events"].append(event)
        if event["name"] == "submit":
            entry["jobspec"] = job.jobspec
        elif event["name"] == "alloc" and job.R is not None:
            entry["R"] = job.R
        if not self._scheduled:
            self._scheduled = True
            self._module.flux.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        pending, self._pending = self._pending, {}
        for entry in pending.values():
            for msg in self._listeners:
                self._send(msg, entry)

    def _send(self, msg: Message, entry: dict[str, Any]) -> None:
        wanted = self._filters.get((msg.sender, msg.matchtag))
        if wanted is not None:
            events = [event for event in entry["events"] if wanted(event["name"])]
            if not events:
                return
            entry = {**entry, "events": events}
        self._module.respond(msg, entry)

    def add(self, msg: Message, req: EventsJournal, jobs: Iterable[Job]) -> None:
        """Start a listener: the events of the jobs given, a sentinel {id: -1}, then what happens from now on."""
        self._flush()
        if req.allow is not None or req.deny is not None:
            allow, deny = req.allow, req.deny or {}
            self._filters[msg.sender, msg.matchtag] = lambda name: (allow is None or name in allow) and name not in deny
        for job in jobs:
            self._send(msg, _backlog(job))
        self._module.respond(msg, SENTINEL)
        self._listeners.add(msg)

    def _dropped(self, msg: Message) -> None:
        self._filters.pop((msg.sender, msg.matchtag), None)

    def end(self) -> None:
        """The module is being unloaded: end all streams."""
        self._flush()
        self._listeners.end(errno.ENODATA)

    def stats(self) -> dict[str, int]:
        return {"listeners": len(self._listeners), "events": self.events}


def _backlog(job: Job) -> dict[str, Any]:
    entry = {"id": job.id, "events": list(job.events), "jobspec": job.jobspec}
    if job.R is not None:
        entry["R"] = job.R
    return entry
