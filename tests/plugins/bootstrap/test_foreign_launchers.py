"""Brokers started by launchers that are not Flux: MPICH's mpiexec.hydra, and any that brings a libpmi.so."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

import pytest

from flux.errors import FluxError
from flux.pmi.client import PMIClient
from flux.pmi.library import LibraryClient, is_loadable
from flux_plugins.bootstrap.pmi import PMIBootstrap

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
MPIEXEC = shutil.which("mpiexec.hydra")
hydra = pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec.hydra (Debian: mpich)")


SHOW = "echo ${PMI_FD-none}"


def launch(*words: str) -> subprocess.CompletedProcess[str]:
    assert MPIEXEC is not None
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLUX_", "PMI_"))}
    # when one broker gives up hydra kills the others, which then remove nothing
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [MPIEXEC, *words],
            env={**env, "TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
        )


@hydra
@pytest.mark.parametrize("way", [[], ["-pmi-port"]], ids=["PMI_FD", "PMI_PORT"])
def test_an_instance_of_four_under_hydra(way: list[str]) -> None:
    result = launch(*way, "-n", "4", FLUX, "start", FLUX, "getattr", "size")
    assert (result.returncode, result.stdout) == (0, "4\n"), result.stderr


@hydra
def test_the_exit_code_of_the_program_is_hydras() -> None:
    result = launch("-n", "3", FLUX, "start", "sh", "-c", "exit 7")
    assert result.returncode == 7, result.stderr


@hydra
def test_processes_of_the_instance_do_not_see_hydras_pmi() -> None:
    result = launch(
        "-n", "2", FLUX, "start", FLUX, "run", "-N2", "-n2", "-o", "pmi=off", "sh", "-c", "echo ${PMI_FD-none}"
    )
    assert result.stdout.split() == ["none", "none"], result.stderr


@hydra
def test_a_broker_that_cannot_start_ends_all_of_them() -> None:
    result = launch("-n", "3", FLUX, "start", "-Stbon.topo=nonsense", "true")
    assert result.returncode != 0
    assert "unknown topology 'nonsense'" in result.stderr


def serve_port(answers: bytes) -> str:
    """A server that takes one connection, reads one line and sends the answers; gives its HOST:PORT."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.recv(100)
            connection.sendall(answers)

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{server.getsockname()[1]}"


def test_rank_and_size_come_from_the_port() -> None:
    answers = b"cmd=initack rc=0\ncmd=set size=5\ncmd=set rank=3\ncmd=set debug=0\n"
    client = PMIClient.from_port({"PMI_PORT": serve_port(answers), "PMI_ID": "3"})
    assert (client.rank, client.size) == (3, 5)
    client.close()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (b"", "closed the connection"),
        (b"cmd=barrier_out\n", "expected cmd=set"),
        (b"gibberish\n", "PMI initack"),
        (b"cmd=set size=2\ncmd=set debug=0\n", "without rank="),
    ],
)
def test_a_port_that_breaks_the_protocol(answers: bytes, says: str) -> None:
    with pytest.raises(FluxError, match=says):
        PMIClient.from_port({"PMI_PORT": serve_port(answers), "PMI_ID": "0"})


@pytest.mark.parametrize("port", ["nonsense", "host:", "host:http"])
def test_a_port_that_is_no_address(port: str) -> None:
    with pytest.raises(FluxError, match="is not HOST:PORT"):
        PMIClient.from_port({"PMI_PORT": port, "PMI_ID": "0"})


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(FluxError, match=f"PMI_PORT=127.0.0.1:{port}"):
        PMIClient.from_port({"PMI_PORT": f"127.0.0.1:{port}", "PMI_ID": "0"})


def test_a_library_that_is_none() -> None:
    with pytest.raises(FluxError, match=r"/nonexistent/libpmi\.so cannot be loaded"):
        PMIBootstrap({"FLUX_PMI_LIBRARY_PATH": "/nonexistent/libpmi.so"}, {}).open()
    with pytest.raises(FluxError, match="has no function PMI_Init"):
        LibraryClient("libc.so.6")
    assert not is_loadable("libnothing-of-this-name.so")


def test_a_library_is_looked_for_under_a_known_launcher_only() -> None:
    assert PMIBootstrap.available({"FLUX_PMI_LIBRARY_PATH": "/x/libpmi.so"}, {})
    assert PMIBootstrap.available({"PMI_PORT": "h:1"}, {})
    assert not PMIBootstrap.available({"LD_LIBRARY_PATH": "/x"}, {})
