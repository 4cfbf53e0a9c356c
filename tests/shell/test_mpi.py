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
NETPIPE = shutil.which("NPmpich2")
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
ASK = r"""
import os
fd = int(os.environ["PMI_FD"])
def ask(line):
    os.write(fd, line + b"\n")
    return os.read(fd, 4096).decode().strip()
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


def test_netpipe_between_two_nodes(program: str, nodes: Instance, tmp_path: Path) -> None:
    if NETPIPE is None:
        pytest.skip("no NPmpich2: Debian has it in netpipe-mpich2")
    results = tmp_path / "np.out"
    result = run(nodes, "-N2", "-n2", NETPIPE, "-u", "16", "-n", "3", "-o", str(results), **NETWORK)
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in results.read_text().splitlines()]
    assert rows[-1][0] == "19"  # around each power of two, up to three bytes more
    assert all(float(bandwidth) > 0 and float(seconds) > 0 for _size, bandwidth, seconds in rows)


def test_which_tasks_share_a_node_is_told(nodes: Instance) -> None:
    script = (
        f"{ASK}"
        "ask(b'cmd=init pmi_version=1 pmi_subversion=1')\n"
        "name = ask(b'cmd=get_my_kvsname').partition('kvsname=')[2].encode()\n"
        "print(ask(b'cmd=get kvsname=' + name + b' key=PMI_process_mapping').partition('value=')[2])\n"
        "ask(b'cmd=finalize')\n"
    )
    blocks = run(nodes, *ON_TWO_NODES, sys.executable, "-c", script)
    assert set(blocks.stdout.splitlines()) == {"(vector,(0,2,4))"}, blocks.stderr
    cyclic = run(nodes, *ON_TWO_NODES, "--taskmap=cyclic", sys.executable, "-c", script)
    assert set(cyclic.stdout.splitlines()) == {"(vector,(0,2,1),(0,2,1),(0,2,1),(0,2,1))"}, cyclic.stderr


def test_a_bad_message_is_answered_and_the_task_goes_on(nodes: Instance) -> None:
    script = (
        f"{ASK}"
        "print(ask(b'hello'))\n"
        "print(ask(b'cmd=init pmi_version=1 pmi_subversion=1'))\n"
        "print(ask(b'cmd=finalize'))\n"
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
