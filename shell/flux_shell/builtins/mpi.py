"""Shell option mpi: environment that MPI implementations need (mpi=NAME, or none)."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from flux.hooks.shell import hookimpl

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Mpi"]

_SPECTRUM = {
    "OMPI_MCA_osc": "pt2pt",
    "OMPI_MCA_pml": "yalla",
    "OMPI_MCA_btl": "self",
    "OMPI_MCA_coll_hcoll_enable": "0",
}
_SPECTRUM_PATHS = {
    "LD_LIBRARY_PATH": "/opt/ibm/spectrum_mpi/lib/pami_port",
    "LD_PRELOAD": "/opt/ibm/spectrum_mpi/lib/libpami_cudahook.so",
}
_SPECTRUM_STACK = 10 << 20  # bytes; with an unlimited stack it warns at each start


class Mpi:
    """What does others no harm is always set; the rest by the name that the option gives, up to an "@"."""

    def __init__(self) -> None:
        self._name = ""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._name = str(shell.options.get("mpi") or "").partition("@")[0]
        if self._name == "none":
            return
        if self._name == "spectrum":
            _spectrum(shell.env)
        elif self._name == "intel":
            shell.env.pop("I_MPI_PMI_LIBRARY", None)  # another launcher's, used in place of PMI_FD
        elif self._name == "mvapich":
            shell.env |= {"MPIRUN_NTASKS": str(shell.job.ntasks), "MPIRUN_RSH_LAUNCH": "1"}
        _open_mpi(shell.env)

    @hookimpl
    def task_init(self, task: Task) -> None:
        if self._name == "spectrum":
            task.env["OMPI_COMM_WORLD_RANK"] = str(task.rank)
        elif self._name == "mvapich":
            task.env["MPIRUN_RANK"] = str(task.rank)


def _open_mpi(env: dict[str, str]) -> None:
    """Shared memory of Open MPI: a directory for each job, as two jobs on a node would use the same names."""
    if "FLUX_JOB_TMPDIR" in env:
        env["OMPI_MCA_btl_vader_backing_directory"] = env["FLUX_JOB_TMPDIR"]


def _spectrum(env: dict[str, str]) -> None:
    """IBM Spectrum MPI at its usual place, told nothing by the launcher around us."""
    for name in [name for name in env if name.startswith(("PMIX_", "OMPI_"))]:
        del env[name]
    env |= _SPECTRUM
    for name, path in _SPECTRUM_PATHS.items():
        env[name] = f"{path}:{env[name]}" if env.get(name) else path
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    soft = _SPECTRUM_STACK if hard == resource.RLIM_INFINITY else min(hard, _SPECTRUM_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))
