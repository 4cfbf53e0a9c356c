"""A parallel program: each task integrates its share of 4/(1+x*x), and all exchange their sums through PMI.

Run it with  flux run -n8 python3 pi.py  or any other launcher that speaks PMI-1.
"""

import os
import socket

from flux.pmi.client import PMIClient

STEPS = 400_000


def share(rank: int, size: int) -> float:
    """Midpoint rule over every size-th step."""
    width = 1.0 / STEPS
    return sum(4.0 / (1.0 + ((i + 0.5) * width) ** 2) for i in range(rank, STEPS, size)) * width


def main() -> None:
    pmi = PMIClient.from_env(os.environ)
    pmi.init()
    mine = share(pmi.rank, pmi.size)
    pmi.put(f"sum.{pmi.rank}", repr(mine))
    pmi.barrier()
    pi = sum(float(pmi.get(f"sum.{rank}")) for rank in range(pmi.size))
    pmi.finalize()
    print(f"task {pmi.rank} of {pmi.size} on {socket.gethostname()}: my share {mine:.6f}, pi = {pi:.10f}")


main()
