"""A line at the bottom of the terminal that tells how far something has come (manual page ``flux.progress``).

The rest of the screen scrolls above it. The terminal has to understand the control sequences of a VT100.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

__all__ = ["Bottombar", "ElapsedTime", "ProgressBar"]

_SAVE, _RESTORE = "\0337", "\0338"
_SCROLL_ALL = "\033[r"
_MAKE_ROOM = "\033D\033M"  # down, which scrolls when this is the last line, and up again
_CLEAR_LINE = "\033[2K"
_WRAP_OFF, _WRAP_ON = "\033[?7l", "\033[?7h"
_PLAIN = "\033[0m"


class ElapsedTime(float):
    """Seconds, which are also a timedelta."""

    @property
    def dt(self) -> timedelta:
        """In whole seconds."""
        return timedelta(seconds=round(self))


class Bottombar:
    """A line of text at the bottom.

    Args:
        formatter: gives the text for (bar, width in columns); default: the keyword arguments as KEY=VALUE.
        kwargs: values for the formatter; also attributes of the bar.

    Attributes:
        elapsed: ElapsedTime since the start.
    """

    def __init__(self, formatter: Callable[[Any, int], str] | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.size: Any = None
        self._formatter = formatter or _pairs
        self._running = False
        self._t0: float | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["kwargs"][name]
        except KeyError:
            raise AttributeError(f"this bar has no value '{name}'") from None

    @property
    def elapsed(self) -> ElapsedTime:
        """0 before the start."""
        return ElapsedTime(0 if self._t0 is None else time.time() - self._t0)

    def __str__(self) -> str:
        size = self.size or shutil.get_terminal_size()
        return self._formatter(self, size.columns)

    def start(self) -> Self:
        """Draw it, from now on."""
        if not self._running:
            self._running = True
            self._t0 = time.time() if self._t0 is None else self._t0
            atexit.register(self.stop)
            self.redraw()
        return self

    def stop(self) -> None:
        """Leave it as it is now, and give the terminal back."""
        if self._running:
            self._running = False
            atexit.unregister(self.stop)
            self._write(f"{_SAVE}{self._last_line()}{_CLEAR_LINE}{_SCROLL_ALL}{_RESTORE}{self}\n")

    def update(self, **kwargs: Any) -> None:
        """Change values."""
        self.kwargs.update(kwargs)
        if self._running:
            self.redraw()

    def redraw(self) -> None:
        """Draw it again, where the bottom is now."""
        size = shutil.get_terminal_size()
        if size != self.size:
            self.size = size
            region = f"\033[1;{size.lines - 1}r"
            self._write(f"{_SAVE}{_SCROLL_ALL}{_RESTORE}{_MAKE_ROOM}{_SAVE}{region}{_RESTORE}")
        line = f"{_CLEAR_LINE}{_WRAP_OFF}{_PLAIN}{self}{_WRAP_ON}"
        self._write(f"{_SAVE}{self._last_line()}{line}{_RESTORE}")

    def _last_line(self) -> str:
        return f"\033[{self.size.lines};1H"

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _pairs(bar: Bottombar, _width: int) -> str:
    return " ".join(f"{key}={value}" for key, value in bar.kwargs.items())


class ProgressBar(Bottombar):
    """A bar that fills as `count` comes to `total`.

    Args:
        total: how many there are to come.
        style: "line", "bar", "dots", "steps" or "vertbars".
        before, after: format strings for what stands beside the bar: of total, count, percent, elapsed and kwargs.
        autostop: stop when count is total.
    """

    bar_style = {
        "line": "─━",
        "bar": "─█",
        "dots": "⣀⣄⣤⣦⣶⣷⣿",
        "steps": " ▁▂▃▄▅▆▇█",
        "vertbars": " ▏▎▍▌▋▊▉█",
    }
    """By name the characters for a cell from empty to full."""

    def __init__(
        self,
        total: int = 100,
        style: str = "vertbars",
        before: str = "",
        after: str = " {percent:5.1f}%",
        autostop: bool = False,
        **kwargs: Any,
    ) -> None:
        if style not in self.bar_style:
            raise ValueError(f"style: expected one of {', '.join(self.bar_style)}, got {style}")
        super().__init__(self._format, **kwargs)
        self.total = total
        self.count = 0
        self.style = self.bar_style[style]
        self.before = before
        self.after = after
        self.autostop = autostop

    def update(self, advance: int = 1, **kwargs: Any) -> None:
        """Go on by so many, and change values."""
        self.count += advance
        super().update(**kwargs)
        if self.autostop and self.count == self.total:
            self.stop()

    def _format(self, _bar: Any, width: int) -> str:
        fraction = self.count / self.total if self.total else 0.0
        values = {**self.kwargs, "total": self.total, "count": self.count, "elapsed": self.elapsed}
        before = self.before.format(percent=100 * fraction, **values)
        after = self.after.format(percent=100 * fraction, **values)
        cells = max(0, width - len(before) - len(after) - 2)
        return f"{before}│{self._cells(cells, min(fraction, 1.0))}│{after}"

    def _cells(self, number: int, fraction: float) -> str:
        full, part = divmod(round(number * fraction * (len(self.style) - 1)), len(self.style) - 1)
        text = self.style[-1] * full + (self.style[part] if part else "")
        return text + self.style[0] * (number - len(text))
