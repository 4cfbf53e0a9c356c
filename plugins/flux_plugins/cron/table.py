"""The cron table as a pure machine: times and events in, tasks to run and lines to log out."""

from __future__ import annotations

import errno
from typing import NamedTuple

from flux.errors import FluxError
from flux_plugins.cron.entry import Entry, Task
from flux_plugins.cron.protocol import CreateRequest
from flux_plugins.cron.triggers import EventTrigger

__all__ = ["Action", "CronTable", "Note", "Run"]

LOG_ERR, LOG_INFO, LOG_DEBUG = 3, 6, 7


class Run(NamedTuple):
    """Run the task of an entry."""

    entry: Entry
    task: Task


class Note(NamedTuple):
    """Log a line."""

    level: int
    text: str


Action = Run | Note


class CronTable:
    """All entries, and the event that their tasks wait for.

    Args:
        sync_event: topic of that event, "" for none.
        sync_epsilon: seconds after it that still count as in time.
    """

    def __init__(self, sync_event: str = "", sync_epsilon: float = 0.0) -> None:
        self.sync_event = sync_event
        self.sync_epsilon = sync_epsilon
        self.entries: dict[int, Entry] = {}
        self._last_id = 0
        self._last_sync = float("-inf")

    # -- administration

    def create(self, request: CreateRequest, now: float) -> Entry:
        """Add an entry. FluxError when its type or arguments are wrong, EINVAL when its time does not come any more."""
        entry = Entry(self._last_id + 1, request, now)
        if request.type == "datetime" and entry.next is None:
            raise FluxError(errno.EINVAL, f"{request.name}: there is no such time to come")
        self._last_id += 1
        self.entries[entry.id] = entry
        return entry

    def find(self, id: int) -> Entry:
        if id not in self.entries:
            raise FluxError(errno.ENOENT, f"there is no cron entry {id}")
        return self.entries[id]

    def start(self, id: int, now: float) -> Entry:
        """Start a stopped entry. FluxError: ENOENT without one, EINVAL when it is not stopped."""
        entry = self.find(id)
        if not entry.is_stopped:
            raise FluxError(errno.EINVAL, f"cron entry {id} is not stopped")
        entry.start(now)
        return self._stop_if_past(entry)

    def stop(self, id: int) -> Entry:
        """Stop an entry. FluxError: ENOENT without one, EINVAL when it is stopped already."""
        entry = self.find(id)
        if entry.is_stopped:
            raise FluxError(errno.EINVAL, f"cron entry {id} is stopped already")
        entry.stop()
        return entry

    def delete(self, id: int) -> Entry:
        entry = self.find(id)
        del self.entries[id]
        return entry

    def _stop_if_past(self, entry: Entry) -> Entry:
        if entry.request.type == "datetime" and entry.next is None:
            entry.stop()
        return entry

    # -- what happens

    def next_time(self) -> float | None:
        """When `on_time` has something to do."""
        return min((entry.next for entry in self.entries.values() if entry.next is not None), default=None)

    def on_time(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for entry in self.entries.values():
            if entry.next is not None and entry.next <= now:
                entry.trigger.advance(now)
                actions += self._trigger(entry, now)
                self._stop_if_past(entry)
        return actions

    def on_event(self, topic: str, now: float) -> list[Action]:
        """An event that matches a topic subscribed to."""
        actions: list[Action] = []
        if topic == self.sync_event:
            self._last_sync = now
            actions += self._release(now)
        for entry in self.entries.values():
            trigger = entry.trigger
            if entry.is_stopped or not isinstance(trigger, EventTrigger) or trigger.topic != topic:
                continue
            if trigger.on_event(now, entry.stats.lastrun):
                actions += self._trigger(entry, now)
        return actions

    def on_started(self, task: Task, pid: int, now: float) -> None:
        task.run(pid, now)

    def on_exit(self, entry: Entry, task: Task, status: int, now: float) -> list[Action]:
        task.exit(status, now)
        return self._over(entry, task, f"exit status {status >> 8}" if status >> 8 else f"signal {status & 0x7F}")

    def on_lost(self, entry: Entry, task: Task, error: FluxError, now: float) -> list[Action]:
        task.fail(error.errno, now)
        return self._over(entry, task, str(error))

    def set_sync(self, topic: str, epsilon: float | None, now: float) -> list[Action]:
        """Wait for another event, or, with "", for none: what waits then runs at once."""
        self.sync_event = topic
        if epsilon is not None:
            self.sync_epsilon = epsilon
        return self._release(now) if not topic else []

    def _trigger(self, entry: Entry, now: float) -> list[Action]:
        if entry.current is not None:
            return [Note(LOG_INFO, f"{entry.label}: passed over, its last task still runs or waits")]
        task = entry.add_task(now)
        if self.sync_event and now - self._last_sync > self.sync_epsilon:
            task.state = "Deferred"
            entry.stats.deferred += 1
            return [Note(LOG_DEBUG, f"{entry.label}: waits for {self.sync_event}")]
        return [self._run(entry, task, now)]

    def _run(self, entry: Entry, task: Task, now: float) -> Run:
        entry.stats.lastrun = now
        task.start(now)
        return Run(entry, task)

    def _release(self, now: float) -> list[Action]:
        waiting = [(entry, entry.current) for entry in self.entries.values()]
        return [self._run(entry, task, now) for entry, task in waiting if task and task.state == "Deferred"]

    def _over(self, entry: Entry, task: Task, why: str) -> list[Action]:
        exceeded = entry.task_over(task)
        actions: list[Action] = []
        if task.state != "Exited":
            ended = "took too long" if task.is_timed_out else "failed"
            actions.append(Note(LOG_ERR, f"{entry.label}: '{entry.request.command}' {ended}: {why}"))
        if exceeded:
            actions.append(Note(LOG_ERR, f"{entry.label}: stopped after {entry.stats.failcount} failures"))
        return actions
