"""Mean seconds of a command over some runs; arguments: runs, command..."""

import subprocess
import sys
import time

runs, command = int(sys.argv[1]), sys.argv[2:]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
start = time.perf_counter()
for _ in range(runs):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
print((time.perf_counter() - start) / runs)
