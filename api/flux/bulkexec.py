"""One command on several brokers at once, followed line by line (RFC 42, flux-exec(1))."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flux.idset import IDset
from flux.rexec import STDERR, STDOUT, RemoteProcess, exec_request

if TYPE_CHECKING:
    from flux.core.base import Handle

__all__ = ["BulkExec"]

_LONGEST_LINE = 1 << 16


class BulkExec:
    """The processes of one command, from their launch until the last one has ended.

    Args:
        flux_handle: whose loop drives it.
        cmdline: the command. env: added to this process's environment.
        ranks: where it runs.
        on_line: called with (rank, "stdout" or "stderr", line).
        on_exit: called with the process when it has ended on a rank; its `error` or `status` says how.
        on_end: called once, after the last `on_exit`.

    Attributes:
        active: ranks on which it has not ended. failed: those where it failed.
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
    ) -> None:
        self.active = IDset(ranks)
        self.failed = IDset()
        self.status = 0
        self._on_line, self._on_exit, self._on_end = on_line, on_exit, on_end
        self._partial: dict[tuple[int, str], bytes] = {}
        self._signals: dict[int, int] = {}
        request = exec_request(cmdline, env={**os.environ, **env}, cwd="/", flags=STDOUT | STDERR)
        self._processes = {rank: self._launch(flux_handle, request, rank) for rank in self.active}

    def _launch(self, flux_handle: Any, request: str, rank: int) -> RemoteProcess:
        return RemoteProcess(
            flux_handle,
            request,
            rank,
            on_output=self._output,
            on_started=self._started,
            on_end=self._ended,
        )

    def kill(self, signum: int, ranks: Iterable[int] | None = None) -> None:
        """Signal the processes that run, of those ranks or all; one that is being launched gets it when it runs."""
        for rank in self.active if ranks is None else self.active & IDset(ranks):
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
