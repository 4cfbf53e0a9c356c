"""Load on an instance while its brokers are killed: events and requests whose fate is written down."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from flux.errors import FluxError
from flux.testing import Instance

__all__ = ["Caller", "Publisher", "Storm", "Subscriber", "alive_ancestors", "private_memory"]

ANSWER_LIMIT = 20.0  # seconds within which every request has to be answered
_OWN_BROKER_DIED = (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN, errno.ECONNREFUSED, errno.ENOENT)


def private_memory(pid: int) -> int:
    """Bytes of memory that a process shares with no other."""
    with open(f"/proc/{pid}/smaps_rollup") as lines:
        sizes = (line.split() for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))
        return sum(int(words[1]) << 10 for words in sizes)


def alive_ancestors(rank: int, fanout: int, dead: set[int]) -> list[int]:
    """The ranks above that live, the nearest first."""
    found = []
    while rank:
        rank = (rank - 1) // fanout
        if rank not in dead:
            found.append(rank)
    return found


class Worker(threading.Thread, ABC):
    """A thread with a handle on one broker; `problem` is what went wrong and should not have."""

    def __init__(self, storm: Storm, rank: int) -> None:
        super().__init__(name=f"{type(self).__name__}-{rank}", daemon=True)
        self.storm, self.rank = storm, rank
        self.problem: str = ""
        self.handle = storm.instance.handle(rank)

    def run(self) -> None:
        try:
            self.work()
        except OSError as exc:
            if self.rank not in self.storm.dead or exc.errno not in _OWN_BROKER_DIED:
                self.problem = f"{self.name}: {exc!r}"
        except Exception as exc:
            self.problem = f"{self.name}: {exc!r}"

    @abstractmethod
    def work(self) -> None:
        """What the thread does; an OSError is none of its faults once its own broker is dead."""


class Publisher(Worker):
    """Publishes numbered events until the storm is over, and then one that says how many there were."""

    count = 0

    def work(self) -> None:
        while not self.storm.over.wait(0.002):
            self.handle.event_publish("storm", {"n": self.count})
            self.count += 1
        self.handle.event_publish("storm", {"n": self.count, "last": True})


class Subscriber(Worker):
    """Reads the events; each has to be the next one."""

    seen = 0
    complete = False

    def __init__(self, storm: Storm, rank: int) -> None:
        super().__init__(storm, rank)
        self.handle.event_subscribe("storm")

    def work(self) -> None:
        while not self.complete:
            payload = self.handle.event_recv().payload
            if payload["n"] != self.seen:
                raise AssertionError(f"event {payload['n']} came where {self.seen} was due")
            self.seen += 1
            self.complete = "last" in payload


class Caller(Worker):
    """Sends requests to random ranks; each has to be answered, by the rank or with EHOSTUNREACH."""

    answered = refused = 0

    def work(self) -> None:
        chance = random.Random(self.rank)
        while not self.storm.over.is_set():
            target = chance.randrange(self.storm.instance.size)
            answer = self.handle.rpc("broker.ping", {"seq": 1}, nodeid=target)
            try:
                answer.wait_for(ANSWER_LIMIT)
                assert int(answer.get()["rank"]) == target
                self.answered += 1
            except FluxError as exc:
                if exc.errno != errno.EHOSTUNREACH:
                    raise
                self.refused += 1


class Storm:
    """Kills brokers one after the other.

    Args:
        seconds: how long. survivors: how many brokers are left at its end, rank 0 among them.
    """

    def __init__(self, instance: Instance, seconds: float, survivors: int, seed: int) -> None:
        self.instance = instance
        self.over = threading.Event()
        self.dead: set[int] = set()
        chance = random.Random(seed)
        self.victims = chance.sample(range(1, instance.size), instance.size - survivors)
        self._interval = seconds / (len(self.victims) + 1)
        self.pids = {rank: instance.broker_pid(rank) for rank in range(instance.size)}
        self.memory: dict[int, list[int]] = {rank: [] for rank in self.pids if rank not in self.victims}

    def rage(self, workers: Sequence[Worker]) -> None:
        """Run the workers while the victims are killed; ends when the publisher's last event can be awaited."""
        for worker in workers:
            worker.start()
        due = time.monotonic()
        for rank in self.victims:
            due += self._interval
            self.over.wait(due - time.monotonic())
            self._weigh()
            self.dead.add(rank)
            os.kill(self.pids[rank], signal.SIGKILL)
        self.over.wait(self._interval)
        self._weigh()
        self.over.set()

    def _weigh(self) -> None:
        for rank, sizes in self.memory.items():
            sizes.append(private_memory(self.pids[rank]))

    def growth(self) -> dict[int, int]:
        """Bytes that the private memory of each survivor has grown by between a quarter of the storm and its end."""
        return {rank: sizes[-1] - sizes[len(sizes) // 4] for rank, sizes in self.memory.items()}

    def survivors(self) -> list[int]:
        return [rank for rank in range(self.instance.size) if rank not in self.dead]

    def problems(self, workers: Sequence[Worker], patience: float) -> list[str]:
        """What went wrong, once the survivors' workers have come to their end or have had enough time to."""
        deadline = time.monotonic() + patience
        found = []
        for worker in workers:
            if worker.rank not in self.dead:
                worker.join(max(0.0, deadline - time.monotonic()))
                if worker.is_alive():
                    found.append(f"{worker.name} hangs")
        return found + [worker.problem for worker in workers if worker.problem]
