"""One task of a job that exchanges cards over PMI-1, round after round; rank 0 prints the seconds of a round.

Written to the wire of RFC 13 alone, so that both systems serve the same client. Argument: number of rounds.
"""

import os
import statistics
import sys
import time

rounds = int(sys.argv[1])
rank, size = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
wire = os.fdopen(int(os.environ["PMI_FD"]), "r+b", buffering=0)


def ask(line: str) -> dict[str, str]:
    wire.write(f"cmd={line}\n".encode())
    answer = wire.readline().decode().split()
    fields = dict(word.split("=", 1) for word in answer)
    if fields.get("rc", "0") != "0":
        sys.exit(f"cmd={line}: {answer}")
    return fields


ask("init pmi_version=1 pmi_subversion=1")
kvsname = ask("get_my_kvsname")["kvsname"]
ask("barrier_in")
times = []
for number in range(rounds):
    start = time.perf_counter()
    ask(f"put kvsname={kvsname} key=card.{number}.{rank} value={rank:0200}")
    ask("barrier_in")
    other = (rank + size // 2) % size
    assert int(ask(f"get kvsname={kvsname} key=card.{number}.{other}")["value"]) == other
    times.append(time.perf_counter() - start)
ask("finalize")
if rank == 0:
    print(statistics.median(times))
