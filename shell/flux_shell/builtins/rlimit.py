"""Shell option rlimit: soft resource limits that the user had when submitting."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl
from flux_shell.option_names import object_of

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["ResourceLimits"]

_GREATEST = (1 << 63) - 1
_EXPECTED = f"a number of at most {_GREATEST} was expected, -1 for no limit"


class ResourceLimits:
    """Sets the limits on the shell, from which tasks inherit them; that of open files is for them alone."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        for name, value in object_of("rlimit", shell.options.get("rlimit"), "rlimit.core=0").items():
            number = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if number is None:
                raise ValueError(f"shell option rlimit.{name}={value}: there is no such limit")
            if type(value) is not int or value > _GREATEST:
                raise ValueError(f"shell option rlimit.{name}={value}: {_EXPECTED}")
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
