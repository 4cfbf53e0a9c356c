"""The event shell-JOBID.kill: `flux job kill`, and the termination of jobs that got an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux.message import Message

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["KillEvent"]

LOG_WARNING = 4


class KillEvent:
    """Signals all local tasks."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        shell.on_event("kill", self._kill)

    def _kill(self, msg: Message) -> None:
        signum = (msg.payload or {}).get("signum")
        if not isinstance(signum, int) or not 0 < signum < 65:
            self._shell.log(LOG_WARNING, f"kill event without a valid signum: {msg.payload!r}", "kill")
            return
        self._shell.deliver_signal(signum)
