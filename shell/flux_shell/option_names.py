"""Names of the shell options that are known (flux-shell(1), SHELL OPTIONS), to tell of misspelt ones."""

from __future__ import annotations

__all__ = ["KNOWN", "likely_meant"]

KNOWN = frozenset(
    "coprocess coprocess-kill-timeout cpu-affinity env-expand exit-on-error exit-timeout gpu-affinity hwloc initrc"
    " input mpi nosetpgrp oom output per-resource pmi pmi-simple pty rexec rexec-shutdown-timeout rlimit signal"
    " stage-in stop-tasks-in-exec sysmon taskmap userrc verbose".split()
)


def likely_meant(name: str) -> str:
    """The known option that a name is nearly the same as; "" when it is like none: then it may be a plugin's own."""
    from flux.discovery import nearest

    return nearest(name, KNOWN, cutoff=0.8)
