"""Real MPI under the shell's PMI: MPICH programs in C, and mpi4py, on two nodes (flux-shell(1), pmi)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from flux.testing import Instance

MPICC, MPIEXEC = shutil.which("mpicc"), shutil.which("mpiexec.hydra")
NETWORK = {"MPIR_CVAR_NOLOCAL": "1"}  # as between nodes, not through shared memory
PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main (int argc, char **argv)
{
    int rank, size, from, sum, local, nlocal;
    MPI_Comm node;

    MPI_Init (&argc, &argv);
    MPI_Comm_rank (MPI_COMM_WORLD, &rank);
    MPI_Comm_size (MPI_COMM_WORLD, &size);
    if (argc > 1 && !strcmp (argv[1], "abort") && rank == size - 1)
        MPI_Abort (MPI_COMM_WORLD, 42);
    MPI_Sendrecv (&rank, 1, MPI_INT, (rank + 1) % size, 0, &from, 1, MPI_INT, (rank + size - 1) % size, 0,
                  MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Allreduce (&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Barrier (MPI_COMM_WORLD);
    printf ("%d of %d: from %d, sum %d\n", rank, size, from, sum);
    MPI_Finalize ();
    return 0;
}
"""
RING = [f"{rank} of 8: from {(rank - 1) % 8}, sum 28" for rank in range(8)]
ON_TWO_NODES = ("-N2", "--tasks-per-node=4")
RUN_TIME = 90  # seconds that a job may take on a busy machine

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MPI program, or a skip where there is no MPICH that compiles it."""
    if MPICC is None or MPIEXEC is None:
        pytest.skip("no mpicc: Debian has it in mpich and libmpich-dev")
    folder = tmp_path_factory.mktemp("mpi")
    (folder / "ring.c").write_text(PROGRAM)
    command = [MPICC, "-o", str(folder / "ring"), str(folder / "ring.c")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if built.returncode:
        pytest.skip(f"mpicc does not work here: {built.stderr}")
    if "mpich" not in subprocess.run([MPICC, "-show"], capture_output=True, text=True, timeout=60).stdout:
        pytest.skip("mpicc is not MPICH's")
    alone = [MPIEXEC, "-n", "2", str(folder / "ring")]
    tried = subprocess.run(alone, env={**os.environ, **NETWORK}, capture_output=True, text=True, timeout=120)
    if tried.returncode:
        pytest.skip(f"MPICH does not work here, without Flux either: {tried.stderr}")
    return str(folder / "ring")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Instance]:
    with Instance(size=2) as instance:
        yield instance


def run(nodes: Instance, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return nodes.run("flux", "run", *args, stdin=subprocess.DEVNULL, timeout=RUN_TIME, env=env)


@pytest.mark.parametrize("options", [(), ("-o", "pmi-simple.exchange.k=1"), ("-o", "pmi-simple.nomap")], ids=str)
def test_ring_and_reduction_over_two_nodes(program: str, nodes: Instance, options: tuple[str, ...]) -> None:
    result = run(nodes, *ON_TWO_NODES, *options, program)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (0, RING), result.stderr
    assert "rror" not in result.stderr


def test_cyclic_tasks_find_each_other(program: str, nodes: Instance) -> None:
    result = run(nodes, *ON_TWO_NODES, "--taskmap=cyclic", program)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (0, RING), result.stderr


def test_abort_of_one_ends_all_with_its_code(program: str, nodes: Instance) -> None:
    result = run(nodes, *ON_TWO_NODES, program, "abort")
    assert result.returncode == 42
    assert "task 7: PMI_Abort" in result.stderr


def test_a_bad_message_is_answered_and_the_task_goes_on(nodes: Instance) -> None:
    script = (
        "import os\n"
        "fd = int(os.environ['PMI_FD'])\n"
        "def ask(line):\n"
        "    os.write(fd, line + b'\\n')\n"
        "    return os.read(fd, 4096).decode()\n"
        "print(ask(b'hello'), end='')\n"
        "print(ask(b'cmd=init pmi_version=1 pmi_subversion=1'), end='')\n"
        "print(ask(b'cmd=finalize'), end='')\n"
    )
    result = run(nodes, sys.executable, "-c", script)
    refused, *rest = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert refused.startswith("cmd=error rc=-1 msg=")
    assert rest == ["cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1", "cmd=finalize_ack rc=0"]


def test_mpi4py(program: str, nodes: Instance, tmp_path: Path) -> None:
    """Its wheels load MPICH under the name that MPICH itself gives the library; Debian's has another."""
    if find_spec("mpi4py") is None:
        pytest.skip("no mpi4py")
    libraries = list(Path("/usr/lib").glob("*/libmpich.so.12"))
    if not libraries:
        pytest.skip("no libmpich.so.12")
    (tmp_path / "libmpi.so.12").symlink_to(libraries[0])
    script = "from mpi4py import MPI\nc = MPI.COMM_WORLD\nprint(c.rank, c.size, c.allreduce(c.rank))"
    paths = ":".join(filter(None, [str(tmp_path), os.environ.get("LD_LIBRARY_PATH")]))
    result = run(nodes, "-N2", "--tasks-per-node=2", sys.executable, "-c", script, LD_LIBRARY_PATH=paths)
    assert (result.returncode, sorted(result.stdout.splitlines())) == (0, [f"{rank} 4 6" for rank in range(4)]), result
