"""Bootstrap through stock Flux's libpmi.so."""

from __future__ import annotations

import glob
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.interop

FLUX = os.path.join(os.path.dirname(sys.executable), "flux")

BOOT = """
import os, sys
from flux_plugins.bootstrap.pmi import PMIBootstrap
environ = {"FLUX_PMI_LIBRARY_PATH": sys.argv[1]}
boot = PMIBootstrap(environ, {})
info = boot.open()
boot.publish({"host": f"h{info.rank}", "pubkey": "k" * 40, "uri": ["tcp://x y"]})
boot.barrier()
peers = [boot.lookup(rank)["host"] for rank in range(info.size)]
try:
    boot.lookup(99)
except FileNotFoundError:
    peers.append("none")
boot.finalize()
print(info.rank, info.size, *peers, flush=True)
"""


def test_cards_are_exchanged_through_the_library(stock_flux: str) -> None:
    prefix = os.path.dirname(os.path.dirname(stock_flux))
    libraries = glob.glob(f"{prefix}/lib*/flux/libpmi.so")
    if not libraries:
        pytest.skip(f"no libpmi.so below {prefix}")
    command = [FLUX, "start", FLUX, "run", "-n2", sys.executable, "-c", BOOT, libraries[0]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL)
    assert sorted(result.stdout.splitlines()) == ["0 2 h0 h1 none", "1 2 h0 h1 none"], result.stderr
