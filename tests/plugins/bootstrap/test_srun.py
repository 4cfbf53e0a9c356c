"""Brokers started by Slurm's srun: through PMI_FD (--mpi=pmi2), and through Slurm's libpmi.so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm import DAEMONS, Slurm

from flux.pmi.connect import LIBRARIES
from flux.pmi.library import is_loadable

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")
SEARCH = f"{os.environ['PATH']}:/usr/sbin:/sbin"

pytestmark = [
    pytest.mark.skipif(os.getuid() != 0, reason="a Slurm of our own needs root"),
    pytest.mark.skipif(
        any(shutil.which(name, path=SEARCH) is None for name in DAEMONS), reason="no Slurm (Debian: slurm-wlm, munge)"
    ),
    pytest.mark.xdist_group("slurm"),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        made = Slurm(Path(folder))
        try:
            made.start()
            yield made
        except (RuntimeError, AssertionError) as exc:
            pytest.skip(f"Slurm does not run here: {exc}")
        finally:
            made.stop()


def srun(slurm: Slurm, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["srun", *words], env=slurm.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )


def test_an_instance_of_three_through_the_descriptor(slurm: Slurm) -> None:
    result = srun(slurm, "--mpi=pmi2", "-n3", FLUX, "start", FLUX, "getattr", "size")
    assert (result.returncode, result.stdout) == (0, "3\n"), result.stderr


@pytest.mark.skipif(not any(map(is_loadable, LIBRARIES)), reason="no libpmi.so (Debian: libpmi0)")
def test_an_instance_of_three_through_the_library(slurm: Slurm) -> None:
    result = srun(slurm, "-n3", FLUX, "start", FLUX, "run", "-N3", "-n3", "sh", "-c", "echo $FLUX_JOB_NNODES")
    assert (result.returncode, result.stdout) == (0, "3\n3\n3\n"), result.stderr


def test_a_batch_script_may_start_an_instance_of_its_own(slurm: Slurm) -> None:
    script = slurm.folder / "script.sh"
    out = slurm.folder / "script.out"
    script.write_text(f"#!/bin/sh\n{FLUX} start -s2 {FLUX} getattr size; {FLUX} start {FLUX} getattr size\n")
    subprocess.run(
        ["sbatch", "--wait", "-n2", f"--output={out}", str(script)], env=slurm.env, capture_output=True, timeout=100
    )
    assert out.read_text() == "2\n1\n"
