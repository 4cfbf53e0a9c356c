"""Words and pictures for what befalls jobs (flux-jobs(1))."""

from __future__ import annotations

import sys

__all__ = ["begin_time", "emoji", "exit_reason"]

_EMOJI = {
    "NEW": ("🎁", "N"),
    "DEPEND": ("🛑", "D"),
    "PRIORITY": ("🚦", "P"),
    "SCHED": ("📅", "S"),
    "RUN": ("🏃", "R"),
    "CLEANUP": ("🗑", "C"),
    "INACTIVE": ("💀", "I"),
    "COMPLETED": ("😀", ":-)"),
    "FAILED": ("💩", ":'-("),
    "CANCELED": ("💥", "%-|"),
    "TIMEOUT": ("⌛", "(-_-)"),
    "": ("\u3000", ""),
}
_EXIT_REASONS = {
    126: "Command invoked cannot execute",
    127: "command not found",
    128: "Invalid argument to exit",
}


def exit_reason(code: int) -> str:
    """What the exit code of a job that failed means."""
    if code > 128:
        import signal

        return (code - 128 < signal.NSIG and signal.strsignal(code - 128)) or f"Signaled {code - 128}"
    return _EXIT_REASONS.get(code, f"Exit {code}")


def emoji(name: str) -> str:
    """The picture of a state or result, its abbreviation where the terminal has no pictures."""
    picture, abbreviation = _EMOJI[name]
    try:
        picture.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return abbreviation
    return picture


def begin_time(text: str) -> str:
    """The dependency "begin-time=SECONDS" as the date that it is."""
    from datetime import datetime

    begin = datetime.fromtimestamp(float(text.partition("=")[2]))
    day = "" if begin.date() == datetime.now().date() else f"{begin:%b%d-}"
    return f"begin@{day}{begin:%H:%M}{f':{begin:%S}' if begin.second else ''}"
