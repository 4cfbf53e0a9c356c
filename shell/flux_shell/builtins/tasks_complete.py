"""The topic shell.tasks-complete: shell 0 learns that no task of the job is left (flux-shell(1), OPERATION)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["TasksComplete"]


class TasksComplete:
    """Each shell tells the first one when its own tasks have ended; a lost shell has none."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        self._busy = set(range(shell.size))
        if shell.rank == 0:
            shell.add_completion_ref("tasks-complete")
            shell.on_request("tasks-complete", lambda msg: self._complete(msg.payload["shell_rank"]))

    @hookimpl(trylast=True)
    def shell_finish(self, shell: Shell) -> None:
        if shell.rank:
            shell.send(0, "tasks-complete", {"shell_rank": shell.rank})
        else:
            self._complete(0)

    @hookimpl
    def shell_lost(self, shell_rank: int) -> None:
        self._complete(shell_rank)

    def _complete(self, shell_rank: int) -> None:
        if self._shell.rank == 0 and shell_rank in self._busy:
            self._busy.remove(shell_rank)
            if not self._busy:
                self._shell.call("shell.tasks-complete", shell=self._shell)
                self._shell.remove_completion_ref("tasks-complete")
