"""Drives the execution of one job: feeds its state machine and does what that says."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.eventlog import decode as decode_eventlog
from flux.idset import IDset
from flux.job.fluid import encode as encode_id
from flux.kvs import lookup_async
from flux.message import Message
from flux_plugins.job_exec.barrier import Barrier
from flux_plugins.job_exec.guest import Guest
from flux_plugins.job_exec.machine import (
    Action,
    Drain,
    Execution,
    Kill,
    Launch,
    Log,
    Respond,
    Seal,
    SetExitTimer,
    SetKillTimer,
    ShellException,
    SignalTasks,
)
from flux_plugins.job_exec.reattach import History, Reattachment
from flux_plugins.job_exec.shells import Shells
from flux_plugins.job_exec.testexec import TestExec

if TYPE_CHECKING:
    from flux_plugins.job_exec.module import JobExec

__all__ = ["Run"]


class Run:
    """One job.

    Args:
        msg: its start request. execution: its state.

    Attributes:
        launcher: its shells, or what stands for them.
        expiration: when its resources expire, seconds since the epoch; 0 for never.
    """

    def __init__(self, module: JobExec, msg: Message, execution: Execution) -> None:
        payload = msg.payload
        self.id: int = payload["id"]
        self.userid: int = payload["userid"]
        self.execution = execution
        self.guest = Guest(module.flux, self.id, self.userid, module.log.error)
        self.launcher: Shells | TestExec
        self.expiration = 0.0
        self._module = module
        self._msg: Message | None = msg
        self._told: list[Respond] = []
        self._known: set[str] = set()
        self._barrier = Barrier(module.flux.send_message)
        self._timers: dict[str, Any] = {}

    def start(self) -> None:
        """Make the guest namespace and launch the shells, at once."""
        actions = self.execution.on_start()
        for action in actions:
            if isinstance(action, Log):
                self.guest.log(action.name, action.context)
        self.guest.create(self._prepared)
        self.perform([action for action in actions if not isinstance(action, Log)])

    def take_over(self, on_failure: Callable[[str], None]) -> None:
        """Go on where another execution service left off, or call back with why not."""
        Reattachment(self, self._module.flux, self._taken_over, self._begin, on_failure)

    def _begin(self, history: History) -> None:
        """Start what another execution service was asked to and did not."""
        if not history.fatal:
            self.start()
            self.expire_at(self.expiration)
            return
        ended = dict.fromkeys(self.execution.ranks, 0)
        self.guest.create(lambda _error: self.perform(self.execution.on_taken_over(False, ended, fatal=True)))

    def _taken_over(self, history: History) -> None:
        self._known = history.known & {"start", "finish", "release"}
        if self._msg is not None:
            self._tell(self._msg, Respond("reattached", {}))
        if history.is_lost:
            note = "the instance crashed when the job had ended: its output is lost"
            self._respond(Respond("exception", {"severity": 1, "type": "exec", "note": note}))
        started = "start" in self._known
        statuses = history.statuses
        if history.ended is not None:
            statuses = dict.fromkeys(self.execution.ranks, history.ended) | statuses
        ranks = [rank for rank in self.execution.ranks if rank not in statuses]
        self.launcher.resume(ranks, started, history.began)
        self.perform(self.execution.on_taken_over(started, statuses, history.fatal))
        if not self.execution.over:
            self.expire_at(self.expiration)

    def let_go(self) -> None:
        """Leave the job to the next execution service."""
        for name in list(self._timers):
            self._cancel_timer(name)
        self._barrier.let_go()
        self.launcher.let_go()

    def _prepared(self, error: str) -> None:
        self.perform(self.execution.on_prepare_failed(error) if error else self.execution.on_prepared())

    # -- actions

    def perform(self, actions: list[Action]) -> None:
        """Do what the state machine says."""
        for action in actions:
            _PERFORM[type(action)](self, action)
        if actions and not self.execution.over:
            self.guest.flush()

    def _launch(self, action: Launch) -> None:
        self.launcher.launch(action.ranks)

    def _respond(self, action: Respond) -> None:
        if action.type in self._known:
            return
        self._told.append(action)
        if self._msg is not None:
            self._tell(self._msg, action)

    def _tell(self, msg: Message, action: Respond) -> None:
        self._module.respond(msg, {"id": self.id, "type": action.type, "data": action.data})

    def adopt(self, msg: Message) -> None:
        """Another job manager asks for this job to be started: tell it what has happened that it does not know of."""
        self._msg = None
        eventlog = lookup_async(self._module.flux, f"{encode_id(self.id, 'kvs')}.eventlog", namespace="primary")
        eventlog.then(self._adopted, msg)

    def _adopted(self, eventlog: Any, msg: Message) -> None:
        try:
            known = {event.name for event in decode_eventlog(eventlog.value())}
        except (FluxError, ValueError) as exc:
            self._module.log.error(f"job {encode_id(self.id)}: its eventlog cannot be read: {exc}")
            known = {action.type for action in self._told}
        if msg.payload.get("reattach"):
            self._tell(msg, Respond("reattached", {}))
        for action in self._told:
            if action.type not in known:
                self._tell(msg, action)
        self._msg = msg

    def _log(self, action: Log) -> None:
        self.guest.log(action.name, action.context)

    def _kill(self, action: Kill) -> None:
        self.launcher.kill(action.signum, action.ranks)

    def _signal_tasks(self, action: SignalTasks) -> None:
        self.launcher.signal_tasks(self.id, action.signum)

    def _set_kill_timer(self, action: SetKillTimer) -> None:
        self._set_timer("kill", action.seconds, self.execution.on_kill_timer)

    def _set_exit_timer(self, action: SetExitTimer) -> None:
        self._set_timer("exit", action.seconds, self.execution.on_exit_timer)

    def _shell_exception(self, action: ShellException) -> None:
        service = f"{self.userid}-shell-{encode_id(self.id, 'f58plain')}.exception"
        request = {
            "type": "lost-shell",
            "severity": action.severity,
            "shell_rank": action.shell_rank,
            "message": action.message,
        }
        self._module.flux.notify(service, request, nodeid=self.execution.ranks[0])

    def _drain(self, action: Drain) -> None:
        reason = f"{action.reason} for job {encode_id(self.id)}"
        request = {"targets": str(action.ranks), "reason": reason, "mode": "update"}
        self._module.flux.rpc("resource.drain", request, nodeid=0).then(self._drained, reason)

    def _drained(self, rpc: Any, reason: str) -> None:
        text = rpc.error_string()
        self._module.log.error(f"draining ranks with {reason}{': ' + text if text else ''}")

    def _seal(self, _action: Seal) -> None:
        for name in list(self._timers):
            self._cancel_timer(name)
        self._module.forget(self)
        self.guest.seal(lambda: self._module.sealed(self))

    # -- timers

    def _set_timer(self, name: str, delay: float, expired: Callable[[], list[Action]]) -> None:
        self._cancel_timer(name)
        self._timers[name] = self._module.flux.call_later(delay, lambda: self.perform(expired()))

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def expire_at(self, expiration: float) -> None:
        """Set when the job's resources expire, in seconds since the epoch; 0 for never."""
        self.expiration = expiration
        self._cancel_timer("expiration")
        if expiration > 0:
            self._set_timer("expiration", max(0.0, expiration - time.time()), self.execution.on_expired)

    # -- what the shells do

    def shell_started(self, rank: int) -> None:
        self.perform(self.execution.on_shell_started(rank))

    def shell_output(self, rank: int, stream: str, data: str) -> None:
        for line in data.splitlines():
            context = {"component": self.launcher.component, "stream": stream, "rank": str(rank), "data": line}
            self.guest.log("log", context)
        self.guest.flush()

    def shell_exited(self, rank: int, status: int) -> None:
        self._shell_gone()
        self.perform(self.execution.on_shell_exit(rank, status))

    def shell_lost(self, rank: int, text: str, errnum: int = 0) -> None:
        self._shell_gone()
        self.perform(self.execution.on_shell_lost(rank, text, errnum))

    def rank_gone(self, rank: int, host: str) -> None:
        """A broker has left the instance."""
        if isinstance(self.launcher, Shells):
            self.launcher.rank_gone(rank, host)

    def _shell_gone(self) -> None:
        if len(self._barrier):
            self._cancel_timer("barrier")
            self._barrier.fail()

    def enter_barrier(self, rank: int, round: int | None, msg: Message) -> None:
        """A shell waits for the others. FluxError EINVAL or EIO when it may not."""
        execution = self.execution
        active = execution.active
        if self._barrier.enter(rank, msg, active, len(active) == len(execution.ranks), round):
            self._cancel_timer("barrier")
        elif len(self._barrier) == 1 and execution.settings.barrier_timeout:
            self._set_timer("barrier", execution.settings.barrier_timeout, self._barrier_timeout)

    def _barrier_timeout(self) -> list[Action]:
        return self.execution.on_barrier_timeout(self._barrier.missing(self.execution.active))

    def fail(self, note: str) -> None:
        """Raise a fatal exception."""
        self.perform(self.execution.fail("exec", note))

    def override(self, event: str, status: int) -> None:
        """Tell a test job what to do next. FluxError EINVAL when it is none."""
        if not isinstance(self.launcher, TestExec):
            raise FluxError(errno.EINVAL, f"job {encode_id(self.id)} is no test job")
        self.launcher.override(event, status)

    def describe(self) -> dict[str, Any]:
        """For `job-exec.stats-get`."""
        execution = self.execution
        return {
            "implementation": "testexec" if isinstance(self.launcher, TestExec) else execution.settings.method,
            "ns": self.guest.namespace,
            "ranks": str(IDset(execution.ranks)),
            "active_ranks": str(IDset(execution.active)),
            "critical_ranks": str(IDset(execution.critical)),
            "exception_in_progress": int(execution.fatal),
            "started": int(execution.started),
            "running": int(execution.started and bool(execution.active)),
            "expiration": self.expiration,
            "kill_timeout": execution.settings.kill_timeout,
            "kill_shell_count": execution.shell_kills,
        }


_PERFORM: dict[type, Any] = {
    Launch: Run._launch,
    Respond: Run._respond,
    Log: Run._log,
    Kill: Run._kill,
    SignalTasks: Run._signal_tasks,
    SetExitTimer: Run._set_exit_timer,
    SetKillTimer: Run._set_kill_timer,
    ShellException: Run._shell_exception,
    Drain: Run._drain,
    Seal: Run._seal,
}
