"""Join the terminal of a job that has one, `-o pty.interactive` (flux-job(1) attach)."""

from __future__ import annotations

import sys

from flux_cli.attach_stdin import StdinSender
from flux_cli.common import die
from flux_cli.terminal import DETACHED, TerminalClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flux.core.handle import Flux

__all__ = ["JobTerminal"]


class JobTerminal:
    """Takes the place of the sender of stdin; when the terminal is closed already, stdin is sent after all.

    Args:
        context: of the job's event shell.init. stdin: task ranks that get stdin; None for one who only looks.
        on_detach: called when the user wants to leave.
        on_end: called when nothing more will be shown, or nothing could be.

    Raises:
        CommandError: for one who only looks.
    """

    def __init__(
        self,
        handle: Flux,
        context: dict[str, Any],
        stdin: str | None,
        on_detach: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        if stdin is None:
            die("Cannot connect to pty in readonly mode")
        service, rank = context["service"], context["leader-rank"]
        self._captured = bool(context.get("capture"))
        self._on_detach, self._on_end = on_detach, on_end
        self._terminal = TerminalClient(handle, f"{service}.{context['pty']}", rank, self._ended)
        self._stdin = StdinSender(handle, service, rank, stdin)

    def start(self) -> None:
        self._terminal.start()

    def close(self) -> None:
        self._terminal.close()
        self._stdin.close()

    def shows(self, ranks: str) -> bool:
        """True for output that is in the eventlog too, but was shown as it came."""
        return self._captured and ranks == "0" and self._terminal.attached

    def _ended(self, message: str, status: int | None) -> None:
        if status is None:
            self._stdin.start()
        else:
            self._left(message)
        self._on_end()

    def _left(self, message: str) -> None:
        if sys.stdout.isatty():
            sys.stdout.write(f"\x1b[999H[detached: {message}]\x1b[K\n\r")
            sys.stdout.flush()
        if message == DETACHED:
            self._on_detach()
