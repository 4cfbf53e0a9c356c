"""Arguments that schedulers share."""

from __future__ import annotations

import errno

from flux.errors import FluxError

__all__ = ["queue_depth"]

UNLIMITED = "unlimited"


def queue_depth(depth: str, mode: str = "") -> int:
    """The number of jobs that may wait in the scheduler, 0 for all.

    Args:
        depth: a number, or "unlimited". mode: the older way to say it, "unlimited" or "limited=N"; "" for neither.

    FluxError EINVAL for another text.
    """
    text = mode.removeprefix("limited=") if mode else depth
    if text == UNLIMITED:
        return 0
    if not text.isdecimal() or (mode and not mode.startswith("limited=")):
        name, value = ("mode", mode) if mode else ("queue-depth", depth)
        expected = "unlimited or limited=N" if mode else "unlimited or a number"
        raise FluxError(errno.EINVAL, f"{name} may be {expected}, not {value!r}")
    return int(text)
