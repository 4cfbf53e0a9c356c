"""Shell option oom.adjust, and a word to the job's user when its node ran out of memory."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import hookimpl
from flux.util import format_size
from flux_shell.cgroup import Cgroup
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["OutOfMemory"]

LOG_ERR, LOG_DEBUG = 3, 6
_LEAST, _MOST = -1000, 1000


class OutOfMemory:
    """Adjusts the tasks' score; looks for victims in the job's control group when a task failed."""

    def __init__(self) -> None:
        self._adjust: int | None = None
        self._killed = 0

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._adjust = _read(shell.options.get("oom"))
        self._cgroup = Cgroup()
        self._killed = self._cgroup.value("memory.events", "oom_kill") or 0

    @hookimpl
    def task_fork(self, shell: Shell, task: Task) -> None:
        if self._adjust is None:
            return
        try:
            with open(f"/proc/{task.pid}/oom_score_adj", "w", encoding="utf-8") as file:
                file.write(f"{self._adjust}\n")
        except OSError as exc:
            shell.log(LOG_DEBUG, f"task {task.rank}: oom_score_adj is left as it is: {exc.strerror}", "oom")

    @hookimpl
    def task_exit(self, shell: Shell, task: Task) -> None:
        if not task.status:
            return
        killed = self._cgroup.value("memory.events", "oom_kill") or 0
        count, self._killed = killed - self._killed, killed
        if count <= 0:
            return
        plural = "s" if count > 1 else ""
        shell.log(
            LOG_ERR, f"Memory cgroup out of memory: killed {count} task{plural} on {socket.gethostname()}.", "oom"
        )
        peak = self._cgroup.number("memory.peak")
        if peak is not None:
            shell.log(LOG_ERR, f"memory.peak = {format_size(peak)}", "oom")


def _read(option: Any) -> int | None:
    """The adjustment, or None. ValueError when the option is none."""
    if option is None:
        return None
    adjust = object_of("oom", option, "oom.adjust=100", ("adjust",)).get("adjust")
    if type(adjust) is not int or not _LEAST <= adjust <= _MOST:
        raise ValueError(f"shell option oom.adjust={adjust}: a number from {_LEAST} to {_MOST} was expected")
    return adjust
