"""One command on several brokers at once, followed line by line (RFC 42, flux-exec(1))."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.idset import IDset
from flux.rexec import STDERR, STDOUT, RemoteProcess, exec_request, resume_request

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["BulkExec", "Lasting"]

_LONGEST_LINE = 1 << 16


class Lasting(NamedTuple):
    """How processes that outlive their client are found again: by a name, unique for whoever is their heir."""

    name: str
    heir: str


class BulkExec:
    """The processes of one command, from their launch until the last one has ended.

    Args:
        flux_handle: whose loop drives it.
        cmdline: the command. env: added to this process's environment.
        ranks: where it runs.
        on_line: called with (rank, "stdout" or "stderr", line).
        on_exit: called with the process when it has ended on a rank; its `error` or `status` says how.
        on_end: called once, after the last `on_exit`.
        lasting: given when the processes are to outlive this one.
        later: ranks where nothing is started before `go_on`.
        is_lost: asked, with a process that has ended, whether its broker went down with it, so that it has not done
            what it was to do; then the rank waits for `go_on`.

    Attributes:
        active: ranks on which it has not ended. failed: those where it failed. waiting: those of active ones where
            nothing runs as far as is known.
        status: greatest wait status, 0 when all is well; of what could not run, its exit code as a shell has it.
    """

    def __init__(
        self,
        flux_handle: Handle,
        cmdline: Sequence[str],
        env: Mapping[str, str],
        ranks: Iterable[int],
        *,
        on_line: Callable[[int, str, str], Any],
        on_exit: Callable[[RemoteProcess], Any] | None = None,
        on_end: Callable[[], Any] | None = None,
        lasting: Lasting | None = None,
        later: Iterable[int] = (),
        is_lost: Callable[[RemoteProcess], bool] | None = None,
    ) -> None:
        self.active = IDset(ranks)
        self.waiting = self.active & IDset(later)
        self.failed = IDset()
        self.status = 0
        self._on_line, self._on_exit, self._on_end = on_line, on_exit, on_end
        self._partial: dict[tuple[int, str], bytes] = {}
        self._signals: dict[int, int] = {}
        self._flux: Any = flux_handle
        self._lasting, self._is_lost = lasting, is_lost
        self._requests = self._encode(cmdline, env)
        self._processes: dict[int, RemoteProcess] = {}
        for rank in self.active - self.waiting:
            self._launch(rank, "exec")

    def _encode(self, cmdline: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
        """The payloads by which a process is started, and taken up again."""
        lasting = self._lasting._asdict() if self._lasting is not None else {}
        request = exec_request(cmdline, env={**os.environ, **env}, cwd="/", flags=STDOUT | STDERR, **lasting)
        return {"exec": request, "resume": resume_request(**lasting) if lasting else ""}

    def _launch(self, rank: int, method: str) -> None:
        self._processes[rank] = RemoteProcess(
            self._flux,
            self._requests[method],
            rank,
            method=method,
            on_output=self._output,
            on_started=self._started,
            on_end=self._ended,
        )

    def go_on(self, ranks: Iterable[int]) -> None:
        """On those of these ranks that wait: take up the process that runs there, or start it."""
        ready = self.waiting & IDset(ranks)
        self.waiting -= ready
        for rank in ready:
            self._launch(rank, "resume")

    def give_up(self, ranks: Iterable[int] | None = None) -> IDset:
        """Let the ranks that wait, all or some, not wait any longer: gives those, which are not active any more."""
        given_up = self.waiting.copy() if ranks is None else self.waiting & IDset(ranks)
        self.waiting -= given_up
        self.active -= given_up
        return given_up

    def let_go(self) -> None:
        """Leave lasting processes to their heir."""
        for rank in self.active - self.waiting:
            self._processes[rank].let_go()

    def kill(self, signum: int, ranks: Iterable[int] | None = None) -> None:
        """Signal the processes that run, of those ranks or all; one that is being launched gets it when it runs."""
        running = self.active - self.waiting
        for rank in running if ranks is None else running & IDset(ranks):
            process = self._processes[rank]
            if process.pid:
                process.kill(signum)
            else:
                self._signals[rank] = signum

    def _started(self, process: RemoteProcess) -> None:
        signum = self._signals.pop(process.rank, 0)
        if signum:
            process.kill(signum)

    def _output(self, process: RemoteProcess, stream: str, data: bytes, eof: bool) -> None:
        key = process.rank, stream
        *lines, rest = (self._partial.pop(key, b"") + data).split(b"\n")
        if rest and (eof or len(rest) > _LONGEST_LINE):
            lines.append(rest)
        elif rest:
            self._partial[key] = rest
        for line in lines:
            self._on_line(process.rank, stream, line.decode(errors="backslashreplace"))

    def _ended(self, process: RemoteProcess) -> None:
        method = self._other_method(process)
        if method:
            self._launch(process.rank, method)
        elif self._is_lost is not None and self._is_lost(process):
            self.waiting.set(process.rank)
        else:
            self._over(process)

    def _other_method(self, process: RemoteProcess) -> str:
        """How to go on with a process that is not there to be taken up, or is there when it is to be started."""
        code = process.error.errno if process.error is not None else 0
        if process.method == "resume" and code == errno.ENOENT:
            return "exec"
        return "resume" if self._lasting and process.method == "exec" and code == errno.EEXIST else ""

    def _over(self, process: RemoteProcess) -> None:
        status = process.exitcode << 8 if process.error is not None or process.status is None else process.status
        self.active.clear(process.rank)
        if status:
            self.failed.set(process.rank)
        self.status = max(self.status, status)
        if self._on_exit is not None:
            self._on_exit(process)
        if not self.active and self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end()
