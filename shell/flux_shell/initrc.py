"""Which initrc a shell runs (flux-shell(1), SHELL INITRC)."""

from __future__ import annotations

import os

__all__ = ["SYSTEM_INITRC", "find_initrc"]

SYSTEM_INITRC = "/etc/flux/shell/initrc.lua"


def find_initrc(asked: str, standalone: bool) -> str:
    """Path of the initrc: the one asked for, else the first initrc.lua on $FLUX_SHELL_RC_PATH or the system's.

    "" when there is none, and for a standalone shell that was given none.
    """
    if asked:
        return asked
    if standalone:
        return ""
    directories = os.environ.get("FLUX_SHELL_RC_PATH", "").split(":")
    candidates = [os.path.join(directory, "initrc.lua") for directory in directories if directory]
    return next((path for path in [*candidates, SYSTEM_INITRC] if os.path.exists(path)), "")
