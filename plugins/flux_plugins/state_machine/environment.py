"""The environment of what a broker starts for its own instance: the initial program and rc commands."""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase

__all__ = ["child_environment"]

_OF_THE_BROKER = (
    "FLUX_JOB_ID FLUX_ENCLOSING_ID FLUX_JOB_SIZE FLUX_JOB_NNODES FLUX_JOB_TMPDIR FLUX_TASK_RANK FLUX_TASK_LOCAL_ID "
    "FLUX_JOB_ID_PATH FLUX_KVS_NAMESPACE FLUX_PROXY_REMOTE FLUX_PMI_LIBRARY_PATH I_MPI_PMI_LIBRARY NOTIFY_SOCKET "
    "INVOCATION_ID PMI_* PMIX_* SLURM_* PALS_*"
).split()


def child_environment(uri: str) -> dict[str, str]:
    """This process's environment without what is about the broker as a program of its launcher.

    Args:
        uri: of this broker, for FLUX_URI.
    """
    environ = {
        name: value
        for name, value in os.environ.items()
        if not any(fnmatchcase(name, pattern) for pattern in _OF_THE_BROKER)
    }
    environ["FLUX_URI"] = uri
    commands = os.path.dirname(sys.executable)
    if os.path.exists(os.path.join(commands, "flux")) and commands not in environ.get("PATH", "").split(":"):
        environ["PATH"] = f"{commands}:{environ.get('PATH', os.defpath)}"
    return environ
