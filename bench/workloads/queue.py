"""A long queue of jobs that wait; arguments: jobs, what, command...

"submit" prints the seconds per job to submit them all, "growth" the broker's CPU time per job at the end of the queue
to that at its beginning, "command" the seconds of a command once they are there.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import flux
import flux.job

AT_A_TIME = 500
SAMPLE = 1000
handle = flux.Flux()
broker = int(handle.attr_get("broker.pid"))
spec = flux.job.JobspecV1.from_command(["true"])
spec.cwd = "/"
spec.environment = {"PATH": os.environ["PATH"]}


def submit(count):
    """Submit jobs that are held; gives the seconds that it took, and the broker's CPU seconds."""
    begin, used = time.perf_counter(), cpu()
    for start in range(0, count, AT_A_TIME):
        futures = [flux.job.submit_async(handle, spec, urgency=0) for _ in range(start, min(start + AT_A_TIME, count))]
        for future in futures:
            future.get_id()
    wait_for_list()
    return time.perf_counter() - begin, cpu() - used


def wait_for_list():
    """Until the job list has heard of the last job."""
    last = flux.job.submit(handle, spec, urgency=0)
    flux.job.job_list_id(handle, last, ["state"]).get_job()


def cpu():
    return sum(int(stat.read_text().split()[0]) for stat in Path(f"/proc/{broker}/task").glob("*/schedstat")) / 1e9


jobs, what, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
submit(SAMPLE // 10)
first = submit(SAMPLE)
middle = submit(jobs - 2 * SAMPLE)
last = submit(SAMPLE)
if what == "submit":
    print((first[0] + middle[0] + last[0]) / jobs)
elif what == "growth":
    print(last[1] / first[1])
else:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(time.perf_counter() - begin)
