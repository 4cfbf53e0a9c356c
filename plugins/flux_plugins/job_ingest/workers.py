"""Processes that validators and frobnicators run in, so that a slow one does not hold the broker up.

Each is `flux job-validator` or `flux job-frobnicator`, with a line of JSON in and a line out for each job, in order.
They are started when there is work, by the broker's subprocess server, and end when there has been none for a while.
"""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import sys
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.rexec import RemoteProcess, exec_request

if TYPE_CHECKING:
    from flux.core.aio import AsyncFlux

__all__ = ["Crew"]

_MOST_WORKERS = 4
_IDLE_TIME = 5.0


class _Worker:
    """One process. backlog: answers that are awaited, in order."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.backlog: deque[asyncio.Future[dict[str, Any]]] = deque()
        self._unsent: deque[bytes] = deque()
        self._partial = b""
        self._complaint = b""
        self._idle: asyncio.TimerHandle | None = None
        self.over = False
        self._process = RemoteProcess(
            crew.flux,
            crew.request,
            crew.rank,
            on_output=self._on_output,
            on_end=self._on_end,
            on_credit=lambda _process: self._write(),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: bytes) -> asyncio.Future[dict[str, Any]]:
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._idle is not None:
            self._idle.cancel()
        self.backlog.append(answer)
        self._unsent.append(line)
        self._write()
        return answer

    def _write(self) -> None:
        while self._unsent and len(self._unsent[0]) <= self._process.credit:
            self._process.write(self._unsent.popleft())

    def retire(self) -> None:
        """No more work: it ends when it has done what it has."""
        self.over = True
        if self._idle is not None:
            self._idle.cancel()
        self._process.write(b"", eof=True)

    def kill(self) -> None:
        """End it now; one that has not begun yet will end by itself."""
        if self._process.pid:
            self.over = True
            self._process.kill(signal.SIGKILL)
        else:
            self.retire()

    def _on_output(self, _process: RemoteProcess, stream: str, data: bytes, _eof: bool) -> None:
        if stream == "stderr":
            self._complaint = (self._complaint + data)[-4096:]
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            answer = self.backlog.popleft()
            if not answer.done():
                self._answered(answer, line)
        if not self.backlog and not self.over:
            self._idle = self._crew.flux.call_later(_IDLE_TIME, self._crew.retire_idle)

    def _answered(self, answer: asyncio.Future[dict[str, Any]], line: bytes) -> None:
        try:
            answer.set_result(json.loads(line))
        except ValueError:
            answer.set_exception(FluxError(errno.EPROTO, f"{self._crew.name}: no JSON came back: {line[:80]!r}"))

    def _on_end(self, process: RemoteProcess) -> None:
        self.over = True
        self._crew.ended(self)
        why = self._complaint.decode(errors="replace").strip().rpartition("\n")[2] or str(process.error or "")
        text = f"{self._crew.name} ended with exit code {process.exitcode}" + (f": {why}" if why else "")
        for answer in self.backlog:
            if not answer.done():
                answer.set_exception(FluxError(errno.EIO, text))
        self.backlog.clear()


class Crew:
    """The workers of one stage.

    Args:
        name: the command without "flux". argv: its arguments.
        limit: seconds that a job may take, waiting included. buffer: bytes of input on their way, such as "10M".
    """

    def __init__(self, flux: AsyncFlux, rank: int, name: str, argv: Sequence[str], limit: float, buffer: str) -> None:
        self.flux = flux
        self.rank = rank
        self.name = name
        self._limit = limit
        command = [sys.executable, "-P", "-m", "flux_cli.main", name, *argv]
        self.request = exec_request(command, cwd="/", opts={"stdin_BUFSIZE": buffer})
        self._workers: list[_Worker] = []

    async def process(self, job: dict[str, Any]) -> dict[str, Any]:
        """What a worker answers to a job. FluxError ETIMEDOUT, EIO when it ended, EPROTO."""
        line = json.dumps(job).encode() + b"\n"
        worker = self._choose()
        answer = worker.ask(line)
        try:
            return await asyncio.wait_for(answer, self._limit)
        except TimeoutError:
            worker.kill()
            raise FluxError(errno.ETIMEDOUT, f"{self.name} gave no answer within {self._limit:g}s") from None

    def _choose(self) -> _Worker:
        """The one with the least to do, or a new one when all have something."""
        ready = [worker for worker in self._workers if not worker.over]
        least = min(ready, key=lambda worker: len(worker.backlog), default=None)
        if least is None or (least.backlog and len(ready) < _MOST_WORKERS):
            least = _Worker(self)
            self._workers.append(least)
        return least

    def retire_idle(self) -> None:
        """End those that have had nothing to do."""
        for worker in self._workers:
            if not worker.backlog and not worker.over:
                worker.retire()

    def ended(self, worker: _Worker) -> None:
        if worker in self._workers:
            self._workers.remove(worker)

    def close(self) -> None:
        """Take no more: workers end when they have done what they have."""
        for worker in self._workers:
            if not worker.over:
                worker.retire()

    def stats(self) -> dict[str, Any]:
        """As `job-ingest.stats-get` shows it."""
        pids = [worker.pid for worker in self._workers if worker.pid]
        backlog = sum(len(worker.backlog) for worker in self._workers)
        trash = sum(worker.over for worker in self._workers)
        return {"running": len(self._workers) - trash, "trash": trash, "backlog": backlog, "pids": pids}
