"""Run the same workloads on this project and, where STOCK_FLUX names a stock `flux`, on that too.

The two are run in turn, so that a machine whose speed drifts hurts both alike. What is printed is the median of
each and the ratio stock = 1.0: of times for latencies (smaller is better), of rates for throughput (larger is better).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

WORKLOADS = Path(__file__).parent / "workloads"


class System(NamedTuple):
    """An implementation of Flux: its name, its `flux`, and the words that run a Python script with its bindings."""

    name: str
    flux: str
    python: list[str]

    def inside(self, *words: str, size: int = 1, attrs: tuple[str, ...] = ()) -> list[str]:
        """Command line that runs words as the initial program of a fresh instance."""
        return [self.flux, "start", f"-s{size}", *(f"-S{attr}" for attr in attrs), *words]

    def script(self, name: str, *args: str) -> list[str]:
        return [*self.python, str(WORKLOADS / name), *args]


class Workload(NamedTuple):
    """One measurement: `measure(system)` gives seconds, or what `unit` says; a rate is shown as its inverse.

    runs: at most so many, for one that takes long.
    """

    title: str
    measure: Callable[[System], float]
    rate: bool
    goal: str
    unit: str = "seconds"
    runs: int = 99


def environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FLUX_", "PYTHON"))}
    env.setdefault("SHLVL", "1")
    return env


def run(words: list[str], timeout: float = 600) -> str:
    result = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=timeout)
    if result.returncode:
        raise SystemExit(f"{' '.join(words)} exited with {result.returncode}:\n{result.stderr}{result.stdout}")
    return result.stdout


def wall(words: list[str]) -> float:
    start = time.perf_counter()
    run(words)
    return time.perf_counter() - start


def printed(words: list[str]) -> float:
    return float(run(words).split()[-1])


def start_of(size: int) -> Callable[[System], float]:
    return lambda system: wall(system.inside("true", size=size))


def rpc(mode: str, count: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("rpc.py", mode, str(count))))


def kvs(which: str, count: int, size: int = 1) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("kvs.py", which, str(count)), size=size))


def distant(depth: int, payload: int, count: int = 1000) -> Callable[[System], float]:
    """RPCs to the last broker of a chain of brokers."""

    def measure(system: System) -> float:
        script = system.script("distant.py", str(depth), str(payload), str(count))
        return printed(system.inside(*script, size=depth + 1, attrs=("tbon.fanout=1",)))

    return measure


def fanout(subscribers: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("fanout.py", str(subscribers), "100")))


def idle(what: str, size: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("idle.py", what), size=size))


def content(which: str, size: int, count: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("content.py", which, str(size), str(count))))


def archive(which: str, count: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("archive.py", which, str(count), system.flux)))


def watchers(count: int) -> Callable[[System], float]:
    return lambda system: printed(system.inside(*system.script("watchers.py", str(count), "500"), size=2))


def pmi(ranks: int) -> Callable[[System], float]:
    """A round of put, barrier and get, of tasks on four brokers."""
    task = [sys.executable, "-SE", str(WORKLOADS / "pmi.py"), "20"]
    words = ["run", "-N4", f"--tasks-per-node={ranks // 4}", "-o", "cpu-affinity=off", *task]
    return lambda system: printed(system.inside(system.flux, *words, size=4))


def tasks(count: int) -> Callable[[System], float]:
    """Submission to end of one job of many tasks on one broker."""

    def measure(system: System) -> float:
        job = [system.flux, "run", "-N1", f"--tasks-per-node={count}", "true"]
        return printed(system.inside(*system.script("commands.py", "1", *job)))

    return measure


def run_true(system: System) -> float:
    return printed(system.inside(*system.script("commands.py", "10", system.flux, "run", "true")))


def list_jobs(system: System) -> float:
    return printed(system.inside(*system.script("commands.py", "10", system.flux, "jobs")))


def submit_true(system: System) -> float:
    submit = [system.flux, "submit", "--quiet", "--urgency=hold", "true"]
    return printed(system.inside(*system.script("commands.py", "10", *submit)))


def output(count: int) -> Callable[[System], float]:
    """Lines of one task's output, through the KVS to who waits for the job."""

    def measure(system: System) -> float:
        job = [system.flux, "run", "seq", "-f%072.0f", str(count)]
        return printed(system.inside(*system.script("commands.py", "1", *job))) / count

    return measure


def bulk_rate(count: int) -> Callable[[System], float]:
    """Jobs that are submitted and held."""
    inputs = [str(number) for number in range(count)]

    def measure(system: System) -> float:
        submit = [system.flux, "bulksubmit", "--quiet", "--urgency=hold", "true", "{}", ":::", *inputs]
        return printed(system.inside(*system.script("commands.py", "1", *submit))) / count

    return measure


def exec_true(size: int) -> Callable[[System], float]:
    """`flux exec true` on every broker."""

    def measure(system: System) -> float:
        command = [system.flux, "exec", "-n", "true"]
        return printed(system.inside(*system.script("commands.py", "5", *command), size=size))

    return measure


def queue(what: str, *words: str) -> Callable[[System], float]:
    """64,000 jobs that wait."""

    def measure(system: System) -> float:
        command = [system.flux, *words] if words else []
        return printed(system.inside(*system.script("queue.py", "64000", what, *command)))

    return measure


def job_rate(count: int, *options: str, size: int = 1) -> Callable[[System], float]:
    def measure(system: System) -> float:
        submit = [system.flux, "submit", f"--cc=1-{count}", "--quiet", "--wait", *options, "true"]
        return printed(system.inside(*system.script("commands.py", "1", *submit), size=size)) / count

    return measure


TEST_EXECUTION = "--setattr=system.exec.test.run_duration=0.001s"

ALL = {
    "start-1": Workload("instance start and stop, 1 broker", start_of(1), False, ""),
    "start-8": Workload("instance start and stop, 8 brokers", start_of(8), False, "<= 0.6"),
    "start-64": Workload("instance start and stop, 64 brokers", start_of(64), False, "<= 0.6"),
    "rpc": Workload("blocking RPC", rpc("blocking", 5000), False, "<= 1.0"),
    "rpc-pipelined": Workload("pipelined RPCs", rpc("pipelined", 5000), True, ">= 1.0"),
    "run": Workload("flux run true", run_true, False, ""),
    "exec-64": Workload("flux exec true on 64 brokers", exec_true(64), False, ""),
    "submit": Workload("flux submit true", submit_true, False, "<= 0.5"),
    "bulksubmit": Workload("flux bulksubmit of 10,000 inputs", bulk_rate(10_000), True, ">= 2.0"),
    "jobs": Workload("real `true` jobs, 200 after a start", job_rate(200), True, ">= 3.0"),
    "jobs-1000": Workload("real `true` jobs, 1,000", job_rate(1000), True, ">= 3.0"),
    "jobs-4": Workload("real `true` jobs on 4 brokers, 1,000", job_rate(1000, size=4), True, ">= 3.0", runs=3),
    "jobs-test": Workload("jobs of test execution", job_rate(1000, TEST_EXECUTION), True, ">= 3.0"),
    "queue-64k": Workload("submission of 64,000 jobs that wait", queue("submit"), True, "", runs=1),
    "queue-64k-growth": Workload("CPU per job, at 64,000 to at 1,000", queue("growth"), False, "", "times", runs=2),
    "queue-64k-jobs": Workload("flux jobs of 64,000", queue("command", "jobs", "-c0"), False, "<= 0.5", runs=1),
    "queue-64k-first": Workload("flux jobs of 1,000 in 64,000", queue("command", "jobs"), False, "<= 0.5", runs=1),
    "flux-jobs": Workload("flux jobs, none there", list_jobs, False, "<= 0.5"),
    "pmi-64": Workload("PMI exchange of 64 ranks on 4 brokers", pmi(64), False, "<= 1.0"),
    "pmi-512": Workload("PMI exchange of 512 ranks on 4 brokers", pmi(512), False, "<= 1.0"),
    "output": Workload("lines of output through the KVS to flux run", output(50_000), True, ">= 1.0"),
    "tasks-1000": Workload("job of 1,000 tasks, start to end", tasks(1000), False, "<= 1.0"),
    "ping-depth-1": Workload("RPC to the next broker", distant(1, 0), False, ""),
    "ping-depth-4": Workload("RPC over 4 brokers", distant(4, 0), False, ""),
    "ping-depth-8": Workload("RPC over 8 brokers", distant(8, 0), False, ""),
    "ping-1k": Workload("RPC to the next broker, 1 KiB", distant(1, 1024), False, ""),
    "ping-64k": Workload("RPC to the next broker, 64 KiB", distant(1, 65536), False, ""),
    "ping-1m": Workload("RPC to the next broker, 1 MiB", distant(1, 1 << 20, 50), False, ""),
    "fanout": Workload("event to 100 subscribers", fanout(100), False, ""),
    "memory-64": Workload("private memory per broker, 64 brokers", idle("memory", 64), False, "", "bytes"),
    "idle-64": Workload("idle CPU per broker, 64 brokers", idle("cpu", 64), False, "", "load"),
    "kvs": Workload("KVS put and commit, one at a time", kvs("put", 1000), True, ">= 3.0"),
    "kvs-batch": Workload("KVS puts, 1,000 in a commit", kvs("batch", 10_000), True, ">= 2.0"),
    "kvs-get": Workload("KVS get", kvs("get", 3000), True, ">= 1.0"),
    "kvs-committers": Workload("KVS put and commit, 16 processes", kvs("committers", 4800), True, ">= 3.0"),
    "kvs-append": Workload("eventlog append, watched by rank 1", kvs("append", 500, size=2), True, ">= 2.0"),
    "watch": Workload("change of a key told to its watcher on rank 1", watchers(1), True, ">= 1.0"),
    "watch-2000": Workload("the same, 2,000 watchers of a key each", watchers(2000), True, ">= 1.0"),
    "store-4k": Workload("content store, 4 KiB", content("store", 4096, 2000), True, ">= 1.0"),
    "load-4k": Workload("content load, 4 KiB", content("load", 4096, 2000), True, ">= 1.0"),
    "store-1m": Workload("content store, 1 MiB", content("store", 1 << 20, 64), True, ">= 1.0"),
    "load-1m": Workload("content load, 1 MiB", content("load", 1 << 20, 64), True, ">= 1.0"),
    "dump": Workload("flux dump, 20,000 keys", archive("dump", 20_000), True, ">= 1.0"),
    "restore": Workload("flux restore, 20,000 keys", archive("restore", 20_000), True, ">= 1.0"),
}


def systems() -> list[System]:
    ours = os.path.join(os.path.dirname(sys.executable), "flux")
    found = [System("flux-kernel", ours, [sys.executable])]
    stock = os.environ.get("STOCK_FLUX")
    if stock:
        found.append(System("stock", stock, [stock, "python"]))
    else:
        print("STOCK_FLUX is not set: no ratios", file=sys.stderr)
    return found


def shown(workload: Workload, seconds: float) -> str:
    if workload.unit == "bytes":
        return f"{seconds / (1 << 20):.1f} MiB"
    if workload.unit == "load":
        return f"{seconds:.3%}"
    if workload.unit == "times":
        return f"{seconds:.2f}"
    if workload.rate:
        return f"{1 / seconds:,.0f}/s"
    return (
        f"{seconds:.3f} s"
        if seconds >= 0.1
        else f"{seconds * 1e6:,.0f} us"
        if seconds < 0.001
        else f"{seconds * 1e3:.1f} ms"
    )


def compare(workload: Workload, runs: int) -> dict[str, object]:
    """Measure one workload on each system in turn; gives medians and the ratio."""
    samples: dict[str, list[float]] = {}
    for _ in range(min(runs, workload.runs)):
        for system in systems_found:
            samples.setdefault(system.name, []).append(workload.measure(system))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    result: dict[str, object] = {"title": workload.title, "goal": workload.goal, workload.unit: medians}
    text = "  ".join(f"{name} {shown(workload, value)}" for name, value in medians.items())
    if "stock" in medians:
        ratio = medians["flux-kernel"] / medians["stock"]
        ratio = 1 / ratio if workload.rate else ratio
        result["ratio"] = ratio
        text += f"  ratio {ratio:.2f}" + (f"  (goal {workload.goal})" if workload.goal else "")
    print(f"{workload.title}: {text}", flush=True)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure against a stock flux-core.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"workloads: {', '.join(ALL)} (default: all)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, alternating (default: 3)")
    parser.add_argument("--list", action="store_true", help="list the workloads, and run nothing")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name:<17} {workload.title}" for name, workload in ALL.items()))
        return 0
    unknown = [name for name in args.names if name not in ALL]
    if unknown:
        parser.error(f"no workload {unknown[0]!r}: there are {', '.join(ALL)}")
    results = {name: compare(ALL[name], args.runs) for name in args.names or ALL}
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    return 0


systems_found = systems()

if __name__ == "__main__":
    sys.exit(main())
