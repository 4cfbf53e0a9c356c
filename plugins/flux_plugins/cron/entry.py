"""An entry of the cron table, and its runs, called tasks. Pure: the time is an argument."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from flux_plugins.cron.protocol import CreateRequest
from flux_plugins.cron.triggers import Trigger, make_trigger

__all__ = ["Entry", "Stats", "Task"]


class Task:
    """One run of an entry's command.

    Attributes:
        state: Deferred (waits for the sync event), Started, Running; in the end Exited, Failed (a status other than
            0), Timeout, Rexec Failure (could not be run).
        pid, status: process id and wait status, 0 before there is one.
    """

    def __init__(self, rank: int, now: float) -> None:
        self.rank = rank
        self.pid = 0
        self.status = 0
        self.state = "Started"
        self.is_timed_out = False
        self._details: dict[str, Any] = {"create-time": now}

    @property
    def is_over(self) -> bool:
        return self.state in ("Exited", "Failed", "Timeout", "Rexec Failure")

    def start(self, now: float) -> None:
        self.state = "Started"
        self._details["start-time"] = now

    def run(self, pid: int, now: float) -> None:
        self.state, self.pid = "Running", pid
        self._details["running-time"] = now

    def time_out(self) -> None:
        self.is_timed_out = self._details["timedout"] = True

    def exit(self, status: int, now: float) -> None:
        self.status = status
        code = os.waitstatus_to_exitcode(status)
        self._end("Exited" if status == 0 else "Failed", code if code >= 0 else 128 - code, now)

    def fail(self, errnum: int, now: float) -> None:
        """It could not be run, or its rank was lost."""
        self._details["rexec_errno"] = errnum
        self._end("Rexec Failure", 0, now)

    def _end(self, state: str, code: int, now: float) -> None:
        self.state = "Timeout" if self.is_timed_out else state
        self._details |= {"code": code, "end-time": now}

    def as_dict(self) -> dict[str, Any]:
        fields = {"rank": self.rank, "pid": self.pid, "status": self.status, "state": self.state}
        return {**fields, **self._details}


class Stats(msgspec.Struct):
    """Times in seconds since the epoch; count and failcount begin anew with each start of the entry."""

    ctime: float
    starttime: float = 0.0
    lastrun: float = 0.0
    count: int = 0
    failcount: int = 0
    total: int = 0
    success: int = 0
    failure: int = 0
    deferred: int = 0


class Entry:
    """A command and what makes it run.

    Attributes:
        tasks: its runs, latest first; at most the first of them is not over.
    """

    def __init__(self, id: int, request: CreateRequest, now: float) -> None:
        self.id = id
        self.request = request
        self.trigger: Trigger = make_trigger(request.type, request.args)
        self.stats = Stats(ctime=now)
        self.tasks: list[Task] = []
        self.is_stopped = False
        self.start(now)

    @property
    def label(self) -> str:
        return f"cron-{self.id}[{self.request.name}]"

    @property
    def current(self) -> Task | None:
        """The task that is not over."""
        return self.tasks[0] if self.tasks and not self.tasks[0].is_over else None

    @property
    def next(self) -> float | None:
        """When to run next, if that is known."""
        return None if self.is_stopped else self.trigger.next

    def start(self, now: float) -> None:
        self.is_stopped = False
        self.stats.starttime, self.stats.count, self.stats.failcount = now, 0, 0
        self.trigger.start(now)

    def stop(self) -> None:
        self.is_stopped = True

    def add_task(self, now: float) -> Task:
        """A new run; the last one that is asked for stops the entry."""
        task = Task(self.request.rank, now)
        self.tasks.insert(0, task)
        self.stats.count += 1
        self.stats.total += 1
        if 0 < self.request.repeat <= self.stats.count:
            self.stop()
        return task

    def task_over(self, task: Task) -> bool:
        """Take account of a task that is over; True when the entry stops because of too many failures."""
        del self.tasks[max(self.request.task_history_count, 0) + (self.current is not None) :]
        if task.state == "Exited":
            self.stats.success += 1
            return False
        self.stats.failure += 1
        self.stats.failcount += 1
        if self.is_stopped or not 0 < self.request.stop_on_failure <= self.stats.failcount:
            return False
        self.stop()
        return True

    def as_dict(self) -> dict[str, Any]:
        """The entry as clients see it."""
        request = self.request
        return {
            "id": self.id,
            "rank": request.rank,
            "name": request.name,
            "command": request.command,
            "repeat": request.repeat,
            "stopped": self.is_stopped,
            "type": request.type,
            **({"timeout": request.timeout} if request.timeout > 0 else {}),
            "stats": msgspec.structs.asdict(self.stats),
            "typedata": self.trigger.as_dict(),
            "tasks": [task.as_dict() for task in self.tasks],
        }
