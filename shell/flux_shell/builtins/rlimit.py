"""Shell option rlimit: soft resource limits that the user had when submitting."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ResourceLimits"]

LOG_WARNING = 4


class ResourceLimits:
    """Sets the limits on the shell, from which tasks inherit them."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        for name, value in (shell.options.get("rlimit") or {}).items():
            number = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if number is None:
                shell.log(LOG_WARNING, f"there is no resource limit {name!r} here", "rlimit")
                continue
            _set(number, int(value))


def _set(number: int, soft: int) -> None:
    hard = resource.getrlimit(number)[1]
    unlimited = resource.RLIM_INFINITY
    wanted = unlimited if soft < 0 else soft
    if hard != unlimited and (wanted == unlimited or wanted > hard):
        wanted = hard
    resource.setrlimit(number, (wanted, hard))
