"""Which initrc a shell runs, and where it looks for more (flux-shell-initrc(5))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

__all__ = ["SHIPPED", "find_initrc", "has_work", "rc_directories", "search_path"]

SYSTEM = "/etc/flux/shell"
SHIPPED = os.path.join(os.path.dirname(__file__), "rc", "initrc.lua")
"""The initrc of a site that has none in SYSTEM."""


def find_initrc(asked: str, env: Mapping[str, str], cwd: str, standalone: bool) -> str:
    """Path of the initrc.

    Args:
        asked: the one that was asked for, relative to cwd, the job's working directory; "" for the default:
            the first initrc.lua on $FLUX_SHELL_RC_PATH, the site's, or the one that ships.

    Returns:
        "" for a standalone shell that was asked for none.
    """
    if asked:
        return os.path.join(cwd, asked)
    if standalone:
        return ""
    candidates = [os.path.join(directory, "initrc.lua") for directory in [*_path(env, "FLUX_SHELL_RC_PATH"), SYSTEM]]
    return next((path for path in candidates if os.path.exists(path)), SHIPPED)


def rc_directories(initrc: str, env: Mapping[str, str]) -> list[str]:
    """Where `shell.source_rcpath` looks: lua.d beside the initrc (the shipped one: in SYSTEM), $FLUX_SHELL_RC_PATH."""
    beside = SYSTEM if initrc == SHIPPED else os.path.dirname(initrc)
    directories = [os.path.join(beside, "lua.d"), *_path(env, "FLUX_SHELL_RC_PATH")]
    return list(dict.fromkeys(directories))


def search_path(env: Mapping[str, str]) -> str:
    """What `plugin.searchpath` is at first."""
    return ":".join(_path(env, "FLUX_SHELL_PLUGINPATH"))


def has_work(options: Mapping[str, Any], env: Mapping[str, str]) -> bool:
    """False when the shipped initrc would find nothing to do, so that most jobs need no Lua."""
    if "userrc" in options:
        return True
    if any(_has_files(directory, ".py") for directory in _path(env, "FLUX_SHELL_PLUGINPATH")):
        return True
    directories = rc_directories(SHIPPED, env)
    if any(_has_files(directory, ".lua") for directory in directories):
        return True
    return "mpi" in options and any(os.path.isdir(os.path.join(directory, "mpi")) for directory in directories)


def _path(env: Mapping[str, str], name: str) -> list[str]:
    """Directories of a path variable of the job, or of the shell's own environment when the job has none."""
    return [directory for directory in (env.get(name) or os.environ.get(name, "")).split(":") if directory]


def _has_files(directory: str, suffix: str) -> bool:
    try:
        return any(name.endswith(suffix) for name in os.listdir(directory))
    except OSError:
        return False
