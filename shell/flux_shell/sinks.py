"""Where a task's output goes: the job's output eventlog (RFC 24), the first shell, a file, or the shell's own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from flux.errors import FluxError
from flux.stdio import encode_io
from flux_shell.mustache import differs_by_rank, render, render_shared
from flux_shell.task import Task
from flux_shell.taskio import aside

if TYPE_CHECKING:
    from flux_shell.journal import Journal
    from flux_shell.limit import Limit
    from flux_shell.shell import Shell

__all__ = ["FileSink", "JournalSink", "RelaySink", "Sink", "TerminalSink", "split_lines"]


def split_lines(data: bytes) -> Iterator[bytes]:
    """Lines with their newline; the last one may have none."""
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Sink(Protocol):
    """Takes one stream of several tasks.

    Attributes:
        by_task: True when each shell has a sink of its own, False when there is one for the job.
    """

    by_task: bool

    def write(self, rank: int, data: bytes, eof: bool) -> None: ...

    def close(self) -> None: ...


class JournalSink:
    """To the output eventlog, an event for each line, as readers that label lines expect.

    Args:
        ntasks: tasks of the job. limit: what becomes of too much output.
    """

    by_task = False

    def __init__(self, journal: Journal, stream: str, ntasks: int, limit: Limit) -> None:
        self._journal = journal
        self._stream = stream
        self._open = ntasks
        self._limit = limit

    def write(self, rank: int, data: bytes, eof: bool) -> None:
        for line in split_lines(data):
            if self._limit.admits(len(line)):
                self._journal.append("output", "data", encode_io(self._stream, str(rank), line))
        if eof:
            self._open -= 1
            if not self._open:
                self._limit.report()  # who follows the output stops after the last stream has ended
            self._journal.append("output", "data", encode_io(self._stream, str(rank), eof=True))

    def close(self) -> None:
        """The journal outlives its sinks."""


class RelaySink:
    """To the first shell of the job, which has the sink proper."""

    by_task = False

    def __init__(self, shell: Shell, stream: str) -> None:
        self._shell = shell
        self._stream = stream

    def write(self, rank: int, data: bytes, eof: bool) -> None:
        context = encode_io(self._stream, str(rank), data, eof)
        self._shell.send(0, "write", {"name": "data", "shell_rank": self._shell.rank, "context": context})

    def close(self) -> None:
        """Nothing is held."""


class FileSink:
    """To a file, or to one for each task when the path has tags that differ by task.

    The files are opened, and emptied, before any task of the job starts: several shells may have the same one.

    Args:
        template: path with mustache tags. label: begin each line with the task's rank.
        append: keep what is there.

    Raises:
        FluxError: a file cannot be opened.

    Attributes:
        path: as the redirect event shows it.
    """

    def __init__(self, shell: Shell, template: str, label: bool, append: bool) -> None:
        self._shell = shell
        self._label = label
        self._flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND | (0 if append else os.O_TRUNC)
        self._files: dict[str, int] = {}
        self._failed: set[int] = set()
        self.path = render_shared(template, shell)
        self.by_task = differs_by_rank(template)
        if self.by_task:
            tasks = [Task(shell, rank, n, [], {}) for n, rank in enumerate(shell.job.task_ranks(shell.rank))]
            self._fd_of = {task.rank: self._open(render(template, shell, task)) for task in tasks}
        else:
            self._fd_of = dict.fromkeys(range(shell.job.ntasks), self._open(self.path))

    def _open(self, path: str) -> int:
        if path not in self._files:
            try:
                self._files[path] = aside(os.open(path, self._flags, 0o666))
            except OSError as exc:
                raise FluxError(exc.errno or errno.EIO, f"opening output file {path}: {exc.strerror}") from None
        return self._files[path]

    def write(self, rank: int, data: bytes, eof: bool) -> None:
        fd = self._fd_of[rank]
        if self._label:
            data = b"".join(b"%d: %s" % (rank, line) for line in split_lines(data))
        try:
            _write_all(fd, data)
        except OSError as exc:
            self._say_failed(fd, exc)

    def _say_failed(self, fd: int, exc: OSError) -> None:
        """Raise an exception that does not end the job, once for each file: there may be room again later."""
        if fd in self._failed:
            return
        self._failed.add(fd)
        path = next(path for path, opened in self._files.items() if opened == fd)
        note = f"output file {path}: {exc.strerror}: what cannot be written is lost"
        self._shell.raise_exception("output", 1, note)

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])


class TerminalSink:
    """To the shell's own stdout or stderr."""

    by_task = True

    def __init__(self, fd: int, label: bool) -> None:
        self._fd = fd
        self._label = label

    def write(self, rank: int, data: bytes, eof: bool) -> None:
        if self._label:
            data = b"".join(b"%d: %s" % (rank, line) for line in split_lines(data))
        _write_all(self._fd, data)

    def close(self) -> None:
        """The descriptor is the process's own."""
