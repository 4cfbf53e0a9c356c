"""Processes and jobs on an instance while its brokers are killed: each has to end as it must."""

from __future__ import annotations

import errno
import random

from storm import ANSWER_LIMIT, Storm, Worker

import flux.job
from flux.constants import FLUX_RPC_STREAMING
from flux.errors import FluxError
from flux.idset import IDset
from flux.job.output import OutputReader
from flux.stdio import decode_io

__all__ = ["Executor", "Submitter"]

JOB_LIMIT = 90.0  # seconds within which every job has to end


class Executor(Worker):
    """Runs processes on random ranks; each ends with its output and status, or with EHOSTUNREACH."""

    finished = refused = 0

    def work(self) -> None:
        chance = random.Random(self.rank)
        while not self.storm.over.is_set():
            target = chance.randrange(self.storm.instance.size)
            try:
                self._run(target, str(self.finished))
                self.finished += 1
            except FluxError as exc:
                if exc.errno != errno.EHOSTUNREACH:
                    raise
                self.refused += 1

    def _run(self, target: int, word: str) -> None:
        cmd = {"cmdline": ["echo", word], "env": {"PATH": "/usr/bin:/bin"}, "opts": {}, "channels": []}
        request = {"cmd": cmd, "flags": 3, "local_flags": 0}
        answers = self.handle.rpc("rexec.exec", request, target, FLUX_RPC_STREAMING)
        status, output = None, b""
        while True:
            answers.wait_for(ANSWER_LIMIT)
            try:
                answer = answers.get()
            except FluxError as exc:
                if exc.errno != errno.ENODATA:
                    raise
                break
            answers.reset()
            status = answer.get("status", status)
            if answer["type"] == "output":
                output += decode_io(answer["io"]).data
        if (status, output) != (0, f"{word}\n".encode()):
            raise AssertionError(f"echo {word} on rank {target}: status {status}, output {output!r}")


class Submitter(Worker):
    """Submits jobs, one after the other; one that fails had a shell on a broker that died."""

    completed = failed = 0

    def __init__(self, storm: Storm, rank: int, nodes: int) -> None:
        super().__init__(storm, rank)
        self.nodes = nodes
        self.name += f"-{nodes}"

    def work(self) -> None:
        script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done"
        jobspec = flux.job.JobspecV1.from_command(["sh", "-c", script], num_tasks=self.nodes, num_nodes=self.nodes)
        while not self.storm.over.is_set():
            jobid = flux.job.submit(self.handle, jobspec, waitable=True)
            waiting = flux.job.wait_async(self.handle, jobid)
            waiting.wait_for(JOB_LIMIT)
            status = waiting.get_status()
            if status.success:
                self._check_output(jobid)
                self.completed += 1
            else:
                self._check_ranks(jobid, status.errstr)
                self.failed += 1

    def _check_output(self, jobid: int) -> None:
        lines: dict[str, list[bytes]] = {}
        reader = OutputReader(
            lambda _stream, ranks, data: lines.setdefault(ranks, []).append(data), lambda *_: None, lambda _: None
        )
        for event in flux.job.event_watch(self.handle, jobid, "guest.output"):
            reader.on_event(event)
        wanted = {str(task): b"1\n2\n3\n4\n5\n" for task in range(self.nodes)}
        found = {task: b"".join(data) for task, data in lines.items()}
        if found != wanted:
            raise AssertionError(f"job {flux.job.JobID(jobid).f58} wrote {found}")

    def _check_ranks(self, jobid: int, text: str) -> None:
        resources = self.handle.rpc("job-info.lookup", {"id": jobid, "keys": ["R"], "flags": 1}).get()["R"]
        entries = resources["execution"]["R_lite"]
        ranks = IDset().union(*(entry["rank"] for entry in entries))
        if not set(ranks) & self.storm.dead:
            raise AssertionError(f"job {flux.job.JobID(jobid).f58} on ranks {ranks} failed: {text}")
