"""The storm as a whole: load of every kind, brokers that die, and what is checked afterwards.

    python tests/faults/storm_run.py --brokers 32 --survivors 10 --seconds 300 --seed 1

Prints what was done, and what went wrong; the exit code is 1 when anything did.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NamedTuple

from storm import ANSWER_LIMIT, Caller, Publisher, Storm, Subscriber, Worker, alive_ancestors
from storm_work import JOB_LIMIT, Executor, Submitter

from flux.idset import IDset
from flux.testing import Instance, wait_for

__all__ = ["FANOUT", "Report", "instance_of", "run_storm"]

FANOUT = 2


class Report(NamedTuple):
    """What came of a storm.

    Attributes:
        problems: what went wrong, in words. events: that each survivor got. answered, refused: requests.
        processes: run by exec. jobs, failed: that completed, and that lost a broker.
        growth: of the survivors' private memory in bytes. memory: of each, at every death and at the end.
        parents, ancestors: of the survivors, by rank; who lives above them, the nearest first.
    """

    problems: list[str]
    events: int
    answered: int
    refused: int
    processes: int
    jobs: int
    failed: int
    growth: dict[int, int]
    memory: dict[int, list[int]]
    parents: dict[int, int]
    ancestors: dict[int, list[int]]

    def misplaced(self) -> list[int]:
        """Survivors that are under a broker which is not above them in the tree."""
        return [rank for rank, parent in self.parents.items() if parent not in self.ancestors[rank]]


def instance_of(brokers: int) -> Instance:
    """An instance that outlives any of its brokers but the first."""
    return Instance(brokers, {"tbon.fanout": str(FANOUT), "log-stderr-level": "2"}, ["--test-exit-mode=leader"])


def run_storm(instance: Instance, seconds: float, survivors: int, seed: int) -> Report:
    """Load an instance while its brokers are killed, until so many are left."""
    storm = Storm(instance, seconds, survivors, seed)
    subscribers = [Subscriber(storm, rank) for rank in range(instance.size)]
    callers = [Caller(storm, rank) for rank in range(0, instance.size, 2)]
    executors = [Executor(storm, 0), Executor(storm, max(storm.memory))]
    submitters = [Submitter(storm, 0, nodes) for nodes in (1, 2, 3)]
    publisher = Publisher(storm, 0)
    workers: list[Worker] = [*subscribers, *callers, *executors, *submitters, publisher]
    storm.rage(workers)
    problems = storm.problems(workers, JOB_LIMIT + ANSWER_LIMIT)
    alive = storm.survivors()
    for rank in alive:
        if subscribers[rank].seen != publisher.count + 1:
            problems.append(f"rank {rank} got {subscribers[rank].seen} of {publisher.count + 1} events")
    problems += _aftermath(instance, alive)
    return Report(
        problems=problems,
        events=publisher.count + 1,
        answered=sum(caller.answered for caller in callers),
        refused=sum(caller.refused for caller in callers) + sum(executor.refused for executor in executors),
        processes=sum(executor.finished for executor in executors),
        jobs=sum(submitter.completed for submitter in submitters),
        failed=sum(submitter.failed for submitter in submitters),
        growth=storm.growth(),
        memory=storm.memory,
        parents={rank: instance.handle(rank).rpc("overlay.parent").get()["rank"] for rank in alive[1:]},
        ancestors={rank: alive_ancestors(rank, FANOUT, storm.dead) for rank in alive[1:]},
    )


def _aftermath(instance: Instance, alive: list[int]) -> list[str]:
    """Everybody reaches everybody, nothing is left waiting, and who is online is known."""
    problems = []
    root = instance.handle()
    wait_for(lambda: _online(root) == alive, what="the group of brokers online is that of the survivors")
    for rank in alive:
        handle = instance.handle(rank)
        for target in alive:
            answer = handle.rpc("broker.ping", {"seq": 1}, nodeid=target).get()
            if int(answer["rank"]) != target:
                problems.append(f"rank {rank} reached rank {answer['rank']} in place of rank {target}")
        stats = handle.rpc("overlay.stats-get").get()
        if max(stats["parent-rpc"], stats["child-rpc"]) >= instance.size:
            problems.append(f"rank {rank}: requests wait that nobody answers: {stats}")
    return problems


def _online(handle: Any) -> list[int]:
    return list(IDset(handle.rpc("groups.get", {"name": "broker.online"}, nodeid=0).get()["members"]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the brokers of a loaded instance at random.")
    parser.add_argument("--brokers", type=int, default=32)
    parser.add_argument("--survivors", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with instance_of(args.brokers) as instance:
        report = run_storm(instance, args.seconds, args.survivors, args.seed)
    for name, value in report._asdict().items():
        print(f"{name}: {value}")
    return 1 if report.problems or report.misplaced() else 0


if __name__ == "__main__":
    sys.exit(main())
