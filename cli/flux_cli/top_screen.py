"""The terminal of `flux top`: draws a view, reads keys (flux-top(1), KEYS)."""

from __future__ import annotations

import os
import signal
import sys
import termios
import time
import tty

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from flux.util import fsd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rich.console import RenderableType

    from flux_cli.top_view import View

__all__ = ["Screen"]

_KEYS = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
}
_ENTER = "\r\n"
_SUMMARY_LINES = 8
_NUMBERS = ("NTASKS", "NNODES", "RUNTIME")
_COLUMNS = ("JOBID", "QUEUE", "USER", "ST", *_NUMBERS, "NAME")


class Screen:
    """The whole terminal, from `with` to its end.

    Args:
        coloured: whether to use colours.
    """

    def __init__(self, coloured: bool) -> None:
        self._console = Console(no_color=not coloured, highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._fd = sys.stdin.fileno()

    def __enter__(self) -> Screen:
        self._modes = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._modes)

    def suspend(self) -> None:
        """Leave the terminal to the shell, as after Ctrl-Z, until this process is continued."""
        self.__exit__()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    def pressed(self) -> Iterator[str]:
        """The keys that were pressed, by name or as a character. A terminal that is gone counts as q."""
        text = os.read(self._fd, 1024).decode(errors="replace") or "q"
        while text:
            name = _KEYS.get(text[:3])
            if name is None:
                name, text = "enter" if text[0] in _ENTER else text[0], text[1:]
            else:
                text = text[3:]
            yield name

    def draw(self, view: View) -> None:
        """Show a view as it is now."""
        if view.resources is None:
            return
        width, height = self._console.size
        rows = max(1, height - _SUMMARY_LINES)
        self._live.update(Group(*_summary(view, width), _jobs(view, rows)), refresh=True)


# -- summary


def _summary(view: View, width: int) -> Iterator[RenderableType]:
    path = "/".join(view.path) if view.path else "flux"
    left = fsd(max(0.0, view.expiration - time.time())) if view.expiration else "∞"
    yield _ends(f"{path}{f' queue: {view.queue}' if view.queue else ''}", f"{left} ⌚", width)
    stats = view.stats
    for what, count in (
        ("nodes", f"{stats.pending} pending"),
        ("cores", f"{stats.running} running"),
        ("gpus", _ended(view)),
    ):
        yield _line(what, view.resources, count, width)
    depth = f"depth: {view.depth} " if view.depth else ""
    yield Text("")
    heart = "♥ " if view.beats % 2 else "  "
    yield _ends(f"size: {view.size} {depth}uptime: {fsd(view.uptime)}", f"{heart}{view.version}", width)
    yield Text("")


def _ended(view: View) -> str:
    stats = view.stats
    return f"{stats.successful} complete, {stats.failed} failed" if view.details else f"{stats.inactive} inactive"


def _ends(left: str, right: str, width: int) -> Text:
    return Text(left + " " * max(1, width - len(left) - len(right)) + right, no_wrap=True)


def _line(what: str, resources: Any, count: str, width: int) -> Text:
    """The bar of one kind of resource, and how many jobs there are of one kind."""
    used, down, total = (getattr(resources[name], f"n{what}") for name in ("allocated", "down", "all"))
    label = f"{used}/{total}"
    room = max(10, width - 46)
    line = Text(f"{what:>6} [", no_wrap=True)
    cells = [min(room, -(-room * part // total)) if total else 0 for part in (used, down)]
    cells[1] = min(cells[1], room - cells[0])
    line.append("|" * cells[0], "yellow")
    line.append(" " * (room - sum(cells)))
    line.append("|" * cells[1], "red")
    line.append(f"{label:>10}] {count}")
    return line


# -- jobs


def _jobs(view: View, rows: int) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="reverse")
    for name in _COLUMNS:
        justify: Any = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=justify, no_wrap=True, ratio=1 if name == "NAME" else None)
    first = max(0, view.cursor - rows + 1)
    for i, job in enumerate(view.jobs[first : first + rows], first):
        style = f"{'reverse ' if i == view.cursor else ''}{'blue bold' if job.uri else ''}".strip()
        values = (job.id.f58, job.queue, job.username, job.state_single, job.ntasks, job.nnodes)
        values = (*values, fsd(job.runtime), job.name)
        table.add_row(*(Text(str(value)) for value in values), style=style or None)
    return table
