"""The requests "exception" and "over": the first shell hears that another one is lost, or ended before its tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.message import Message

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["LostShell"]

LOG_WARNING = 4


class LostShell:
    """Lets other plugins know (hook shell_lost), and logs what job-exec says of it."""

    def __init__(self) -> None:
        self._finished = False

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        if shell.rank == 0:
            shell.on_request("exception", self._exception)
            shell.on_request("over", lambda msg: self._over(int(msg.payload["shell_rank"]), 0))

    def _exception(self, msg: Message) -> None:
        request = msg.payload or {}
        rank, severity = int(request["shell_rank"]), int(request["severity"])
        text = request.get("message") or f"shell {rank} is lost"
        self._shell.log(LOG_WARNING, text, "exception")
        self._over(rank, severity)

    def _over(self, rank: int, severity: int) -> None:
        self._shell.call("shell.lost", shell=self._shell, shell_rank=rank, severity=severity)

    @hookimpl
    def shell_finish(self) -> None:
        self._finished = True

    @hookimpl
    def shell_exit(self, shell: Shell) -> None:
        """The first shell waits for what this one has not come to."""
        if shell.rank and not self._finished:
            shell.send(0, "over", {"shell_rank": shell.rank})
