"""The end of a job whose first task has exited: options exit-on-error and exit-timeout (flux-shell(1))."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from flux.core.reactor import Timer
from flux.hooks.shell import hookimpl
from flux.message import Message
from flux.util import parse_fsd

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Doom"]

DEFAULT_TIMEOUT = "30s"


class Doom:
    """Posts shell.task-exit for the first task that exits in the job, and ends the rest when asked to."""

    def __init__(self) -> None:
        self._seen = False

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._on_error = bool(shell.options.get("exit-on-error"))
        self._timeout = _seconds(str(shell.options.get("exit-timeout", DEFAULT_TIMEOUT)))
        self._timer: Timer | None = None
        if shell.rank == 0:
            shell.on_request("doom", self._told)

    @hookimpl
    def task_exit(self, shell: Shell, task: Task) -> None:
        if self._seen:
            return
        host = os.uname().nodename
        if shell.rank:
            self._seen = True
            shell.send(0, "doom", {"task": task.info(), "host": host})
        else:
            self._first_exit(task.info(), host)

    def _told(self, msg: Message) -> None:
        if not self._seen:
            self._first_exit(msg.payload["task"], msg.payload["host"])

    def _first_exit(self, info: dict[str, Any], host: str) -> None:
        self._seen = True
        self._shell.post_event("shell.task-exit", info)
        if self._shell.job.ntasks == 1:
            return
        who = f"task {info['rank']} (host {host}) {_describe(info)}"
        if self._on_error and info["wait_status"]:
            self._shell.die(f"{who} and exit-on-error is set", _exitcode(info))
        if self._timeout is not None:
            text = f"{who} and exit-timeout={self._timeout:g}s has expired"
            self._timer = self._shell.reactor.call_later(self._timeout, lambda: self._shell.die(text, _exitcode(info)))

    @hookimpl
    def shell_tasks_complete(self) -> None:
        """Nothing is left to end."""
        if self._timer is not None:
            self._timer.cancel()


def _seconds(timeout: str) -> float | None:
    try:
        return None if timeout == "none" else parse_fsd(timeout)
    except ValueError as exc:
        raise ValueError(f"shell option exit-timeout: {exc}") from None


def _exitcode(info: dict[str, Any]) -> int:
    """The job's: that of the task, or of those that are killed when it is 0."""
    return int(info["exitcode"]) or 128 + signal.SIGKILL


def _describe(info: dict[str, Any]) -> str:
    return f"was killed by signal {info['signaled']}" if info["signaled"] else f"exited with code {info['exitcode']}"
