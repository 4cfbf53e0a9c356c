"""Shell option rlimit: soft resource limits that the user had when submitting."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ResourceLimits"]


class ResourceLimits:
    """Sets the limits on the shell, from which tasks inherit them."""

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
            _set(number, value)


def _set(number: int, soft: int) -> None:
    hard = resource.getrlimit(number)[1]
    unlimited = resource.RLIM_INFINITY
    wanted = unlimited if soft < 0 else soft
    if hard != unlimited and (wanted == unlimited or wanted > hard):
        wanted = hard
    resource.setrlimit(number, (wanted, hard))
