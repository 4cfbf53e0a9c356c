"""The request "exception": job-exec tells the first shell that another one is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.message import Message

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["LostShell"]

LOG_WARNING = 4


class LostShell:
    """Logs the loss and lets other plugins know (hook shell_lost)."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        if shell.rank == 0:
            shell.on_request("exception", self._exception)

    def _exception(self, msg: Message) -> None:
        request = msg.payload or {}
        rank, severity = int(request["shell_rank"]), int(request["severity"])
        text = request.get("message") or f"shell {rank} is lost"
        self._shell.log(LOG_WARNING, text, "exception")
        self._shell.call("shell.lost", shell=self._shell, shell_rank=rank, severity=severity)
