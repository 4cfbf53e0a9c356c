"""One job's execution as a pure state machine: what its shells do goes in, what is to be done comes out (RFC 32).

    launch all shells -> start, when each has started and the guest namespace is there
                      -> finish, done, release, when the last one is gone

A fatal exception at any point makes it signal what is left: SIGTERM, or SIGALRM when time is up, to the shells, which
pass it on; SIGKILL to their tasks, several times; SIGKILL to the shells, ever more rarely; then ranks whose shell would
not die are given up and drained (flux-config-exec(5)).
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

from flux.idset import IDset
from flux_plugins.job_exec.protocol import TASK_KILLS, Settings

__all__ = [
    "Action",
    "Drain",
    "Execution",
    "Kill",
    "Launch",
    "Log",
    "Respond",
    "Seal",
    "SetExitTimer",
    "SetKillTimer",
    "ShellException",
    "SignalTasks",
]


class Launch(NamedTuple):
    """Start a shell on each of these broker ranks."""

    ranks: Sequence[int]


class Respond(NamedTuple):
    """Send a response to the start request."""

    type: str
    data: dict[str, Any]


class Log(NamedTuple):
    """Add an event to exec.eventlog."""

    name: str
    context: dict[str, Any]


class Kill(NamedTuple):
    """Signal the shells of these ranks."""

    signum: int
    ranks: Sequence[int]


class SignalTasks(NamedTuple):
    """Ask all shells to signal their tasks."""

    signum: int


class SetKillTimer(NamedTuple):
    """Call `on_kill_timer` after so many seconds."""

    seconds: float


class SetExitTimer(NamedTuple):
    """Call `on_exit_timer` after so many seconds."""

    seconds: float


class ShellException(NamedTuple):
    """Tell the leader shell that it lost another one."""

    shell_rank: int
    severity: int
    message: str


class Drain(NamedTuple):
    """Take these ranks out of service."""

    ranks: IDset
    reason: str


class Seal(NamedTuple):
    """The guest namespace is complete: keep it with the job."""


Action = Launch | Respond | Log | Kill | SignalTasks | SetExitTimer | SetKillTimer | ShellException | Drain | Seal


_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
"""Signals that shells pass on to their tasks."""
_NO_PROGRAM = {errno.ENOENT: 127, errno.EACCES: 126}
"""Exit codes of a shell that is not there, and of one that cannot be executed, as command interpreters have them."""


class ShellState(Enum):
    LAUNCHING = auto()
    RUNNING = auto()
    OVER = auto()


class Execution:
    """The state of one job.

    Args:
        ranks: broker ranks of its shells, in the order of the shell ranks.
        settings: how it is killed.

    Attributes:
        started: the response "start" was sent. fatal: it is being killed. over: nothing is left to be done.
    """

    def __init__(self, ranks: Sequence[int], settings: Settings) -> None:
        self.ranks = list(ranks)
        self.settings = settings
        self.shells = dict.fromkeys(self.ranks, ShellState.LAUNCHING)
        self.critical: set[int] = set(range(len(self.ranks)))
        self.started = self.fatal = self.over = False
        self._prepared = self._has_status = False
        self._launching = self._left = len(self.ranks)
        self._status = 0
        self._exception_status: int | None = None
        self._term_signal = settings.term_signal
        self._task_kills = self.shell_kills = 0
        self._killing_for = 0.0
        self._delays = settings.kill_delays()

    @property
    def active(self) -> list[int]:
        """Ranks whose shell is not gone."""
        return [rank for rank, state in self.shells.items() if state is not ShellState.OVER]

    @property
    def status(self) -> int:
        """Wait status of the job: the shells' greatest, or what the exception that ended it says."""
        return self._status if self._exception_status is None else self._exception_status

    # -- start

    def on_start(self) -> list[Action]:
        """The job manager wants the job to run."""
        return [Log("init", {}), Log("starting", {}), Launch(self.ranks)]

    def on_taken_over(self, started: bool, statuses: Mapping[int, int], fatal: bool) -> list[Action]:
        """Another execution service had the job before.

        Args:
            started: it said so. statuses: wait status of each rank whose shell has ended.
            fatal: an exception has ended the job.
        """
        self._prepared, self.started = True, started
        for rank, status in statuses.items():
            if self.shells.get(rank, ShellState.OVER) is not ShellState.OVER:
                self._gone(rank, status)
        if started:
            self.shells.update(dict.fromkeys(self.active, ShellState.RUNNING))
            self._launching = 0
        actions = self._kill() if fatal or self.fatal else []
        return actions + self._progress()

    def on_prepared(self) -> list[Action]:
        """The guest namespace is there, and a link to it."""
        self._prepared = True
        return self._progress()

    def on_prepare_failed(self, text: str) -> list[Action]:
        """There is no guest namespace."""
        self._prepared = True
        return self._raise("exec", f"guest namespace: {text}") + self._progress()

    def on_shell_started(self, rank: int) -> list[Action]:
        """A shell runs."""
        if self.shells[rank] is not ShellState.LAUNCHING:
            return []
        self.shells[rank] = ShellState.RUNNING
        self._launching -= 1
        if self.fatal:
            return [Kill(self._term_signal if self._term_signal in _PASSED_ON else signal.SIGTERM, [rank])]
        return self._progress()

    def _progress(self) -> list[Action]:
        actions: list[Action] = []
        if self._prepared and not self._launching and not self.started and not self.fatal:
            self.started = True
            actions.append(Respond("start", {}))
        if self._prepared and not self._left and not self.over:
            self.over = True
            actions += self._conclude()
        return actions

    def _conclude(self) -> list[Action]:
        actions: list[Action] = [Log("complete", {"status": self.status}), Log("done", {}), Seal()]
        if self.started or self._has_status:
            actions.append(Respond("finish", {"status": self.status}))
        actions.append(Respond("release", {"ranks": "all", "final": True}))
        return actions

    # -- the end of a shell

    def on_shell_exit(self, rank: int, status: int) -> list[Action]:
        """A shell has ended and its output too. status: its wait status."""
        if self.shells[rank] is ShellState.OVER:
            return []
        self._gone(rank, status)
        context: dict[str, Any] = {"rank": rank, "wait_status": status}
        if self._left:
            context["active_ranks"] = str(IDset(self.active))
        actions: list[Action] = [Log("shell-exit", context)]
        if os.WIFSIGNALED(status) and self._left and not self.fatal:
            actions += self._lost(rank, f"job shell on rank {rank} was killed by signal {os.WTERMSIG(status)}", "exec")
        if rank == self.ranks[0] and self._left and not self.fatal and self.settings.shell_exit_timeout > 0:
            actions.append(SetExitTimer(self.settings.shell_exit_timeout))
        return actions + self._progress()

    def on_exit_timer(self) -> list[Action]:
        """The leader shell ended some time ago."""
        if not self._left:
            return []
        return self._raise("exec", f"leader shell has ended, but those on ranks {IDset(self.active)} have not")

    def on_shell_lost(self, rank: int, text: str, errnum: int = 0) -> list[Action]:
        """A shell could not be started, for the reason errnum, or it is not known any more what it does."""
        launching = self.shells[rank] is ShellState.LAUNCHING
        if self.shells[rank] is ShellState.OVER:
            return []
        self._gone(rank, _NO_PROGRAM.get(errnum, 1) << 8 if launching else 1 << 8)
        if launching:
            self._has_status = self._has_status or errnum in _NO_PROGRAM
            actions = self._raise("exec", f"job shell on rank {rank} could not be started: {text}")
        else:
            actions = self._lost(rank, f"lost contact with job shell on rank {rank}: {text}", "node-failure")
        return actions + self._progress()

    def _gone(self, rank: int, status: int) -> None:
        if self.shells[rank] is ShellState.LAUNCHING:
            self._launching -= 1
        self.shells[rank] = ShellState.OVER
        self._left -= 1
        self._status = max(self._status, status)

    def _lost(self, rank: int, text: str, kind: str) -> list[Action]:
        """The leader is told too: it may be waiting for output of the shell that is gone."""
        shell_rank = self.ranks.index(rank)
        severity = 0 if shell_rank in self.critical else 2
        leader_is_there = self.shells[self.ranks[0]] is ShellState.RUNNING
        actions: list[Action] = [ShellException(shell_rank, severity, text)] if leader_is_there else []
        if severity == 0:
            return actions + self._raise(kind, text)
        return [*actions, Respond("exception", {"severity": severity, "type": kind, "note": text})]

    # -- exceptions

    def on_exception(self, severity: int, wait_status: int | None = None) -> list[Action]:
        """An exception was raised on the job. wait_status: that the job is to have because of it."""
        if severity != 0 or self.fatal or self.over:
            return []
        if wait_status is not None:
            self._exception_status = _exit_code(wait_status) << 8
        return self._kill()

    def on_expired(self) -> list[Action]:
        """The time of the job's resources is up."""
        return self._raise("timeout", "resource allocation expired", signal.SIGALRM)

    def on_barrier_timeout(self, missing: Iterable[int]) -> list[Action]:
        """Shells waited too long for others."""
        ranks = IDset(missing)
        note = f"start barrier timeout waiting for {len(ranks)}/{len(self.ranks)} nodes (ranks {ranks})"
        actions = self._raise("exec", note)
        return [*actions, Drain(ranks, "start barrier timeout")] if actions else []

    def fail(self, kind: str, note: str) -> list[Action]:
        """The job cannot run at all."""
        return self._raise(kind, note) + self._progress()

    def _raise(self, kind: str, note: str, signum: int | None = None) -> list[Action]:
        """Raise a fatal exception, unless there was one. signum: what the tasks get in place of term-signal."""
        if self.fatal or self.over:
            return []
        self._term_signal = signum or self.settings.term_signal
        return [Respond("exception", {"severity": 0, "type": kind, "note": note}), *self._kill()]

    def _kill(self) -> list[Action]:
        self.fatal = True
        if not self._left:
            return []
        if self._term_signal in _PASSED_ON:
            terminate: Action = Kill(self._term_signal, self.active)
        else:
            terminate = SignalTasks(self._term_signal)
        return [terminate, self._next_kill(self.settings.kill_timeout)]

    def _next_kill(self, delay: float) -> SetKillTimer:
        limit = self.settings.max_kill_timeout
        if limit >= 0:
            delay = max(0.0, min(delay, limit - self._killing_for))
        self._killing_for += delay
        return SetKillTimer(delay)

    def on_kill_timer(self) -> list[Action]:
        """Shells are still there some time after they were signalled."""
        if self.over or not self._left:
            return []
        if self._task_kills < TASK_KILLS - 1 and not self._out_of_time():
            self._task_kills += 1
            return [SignalTasks(self.settings.kill_signal), self._next_kill(self.settings.kill_timeout)]
        self.shell_kills += 1
        kill = Kill(self.settings.kill_signal, self.active)
        if self._out_of_time():
            return [kill, *self._give_up()]
        return [kill, self._next_kill(next(self._delays))]

    def _out_of_time(self) -> bool:
        limit = self.settings.max_kill_timeout
        return self._killing_for >= limit if limit >= 0 else self.shell_kills >= self.settings.max_kill_count

    def _give_up(self) -> list[Action]:
        stuck = IDset(self.active)
        for rank in stuck:
            self._gone(rank, signal.SIGKILL)
        return [Drain(stuck, "unkillable user processes"), *self._progress()]


def _exit_code(wait_status: int) -> int:
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)
