"""Names of the shell options that are known (flux-shell(1), SHELL OPTIONS), to tell of misspelt ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["KNOWN", "likely_meant", "misnamed", "object_of", "warn_of_misnamed"]

_LOG_WARNING = 4

KNOWN = frozenset(
    "coprocess coprocess-kill-timeout cpu-affinity env-expand exit-on-error exit-timeout gpu-affinity hwloc initrc"
    " input mpi nosetpgrp oom output per-resource pmi pmi-simple pty rexec rexec-shutdown-timeout rlimit signal"
    " stage-in stop-tasks-in-exec sysmon taskmap userrc verbose".split()
)


def likely_meant(name: str) -> str:
    """The known option that a name is nearly the same as; "" when it is like none: then it may be a plugin's own."""
    from flux.discovery import nearest

    return nearest(name, KNOWN, cutoff=0.8)


def misnamed(option: str, given: Iterable[str], known: Iterable[str]) -> str:
    """What to say of the first key of an option's object that is not known, with the right ones; "" when all are."""
    unknown = sorted(set(given).difference(known))
    if not unknown:
        return ""
    from flux.discovery import nearest

    meant = nearest(unknown[0], known)
    hint = f"did you mean {option}.{meant}?" if meant else f"{option} takes {', '.join(known)}"
    return f"no shell option is named {option}.{unknown[0]}: {hint}"


def warn_of_misnamed(shell: Shell, option: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Log what `misnamed` says: for options whose further keys may be those of other releases."""
    if text := misnamed(option, given, known):
        shell.log(_LOG_WARNING, text, option.partition(".")[0])


def object_of(option: str, value: Any, example: str, known: Iterable[str] = ()) -> dict[str, Any]:
    """The object that an option is made of, {} when it is not given.

    Args:
        example: an option as it is given, to show what was expected. known: its keys, () to let any pass.

    Raises:
        ValueError: it is no object, or has a key that is not known.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"shell option {option}={value!s:.60}: an object was expected, such as {example}")
    if known and (error := misnamed(option, value, known)):
        raise ValueError(error)
    return value
