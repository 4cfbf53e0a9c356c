"""Shell option rlimit: soft resource limits that the user had when submitting."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ResourceLimits"]


class ResourceLimits:
    """Sets the limits on the shell, from which tasks inherit them; that of open files is for them alone."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        limits = shell.options.get("rlimit") or {}
        if not isinstance(limits, dict):
            raise ValueError(f"shell option rlimit={limits}: rlimit.NAME=N was expected")
        for name, value in limits.items():
            number = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if number is None:
                raise ValueError(f"shell option rlimit.{name}={value}: there is no such limit")
            if not isinstance(value, int):
                raise ValueError(f"shell option rlimit.{name}={value}: a number was expected, -1 for no limit")
            soft, hard = _at_most_hard(number, value)
            if number == resource.RLIMIT_NOFILE:
                shell.nofile = soft
            else:
                resource.setrlimit(number, (soft, hard))


def _at_most_hard(number: int, soft: int) -> tuple[int, int]:
    hard = resource.getrlimit(number)[1]
    unlimited = resource.RLIM_INFINITY
    wanted = unlimited if soft < 0 else soft
    if hard != unlimited and (wanted == unlimited or wanted > hard):
        wanted = hard
    return wanted, hard
