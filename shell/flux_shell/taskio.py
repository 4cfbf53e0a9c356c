"""Ends of task streams on the shell's reactor: lines out of a task, bytes into one."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable

from flux.constants import FLUX_POLLIN, FLUX_POLLOUT
from flux.core.reactor import Reactor

__all__ = ["Reader", "Writer", "aside", "pipe"]

_READ_SIZE = 65536
_LONGEST_LINE = 4194304
_READS_NO_MORE = (errno.EPIPE, errno.EIO)
_FOR_TASKS = range(32, 64)
"""Descriptors that the shell leaves to what it starts, which may have a lower limit of open files, or use select(2)."""


def pipe() -> tuple[int, int]:
    """A pipe (read, write) whose ends do not reach what is executed."""
    return os.pipe2(os.O_CLOEXEC)


def aside(fd: int) -> int:
    """Number of a descriptor that the shell keeps while others are started: another one if it is `_FOR_TASKS`."""
    if fd not in _FOR_TASKS:
        return fd
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FOR_TASKS.stop)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.EMFILE):  # the limit is there, or reached
            return fd
        raise
    os.close(fd)
    return moved


class Reader:
    """Output of a task.

    Args:
        on_data: called with (data, eof); whole lines when lines is true, and exactly once with eof.
    """

    def __init__(self, reactor: Reactor, fd: int, on_data: Callable[[bytes, bool], None], lines: bool = True) -> None:
        self._reactor = reactor
        self._fd = fd = aside(fd)
        self._on_data = on_data
        self._lines = lines
        self._partial = b""
        self.closed = False
        self._reading = False
        os.set_blocking(fd, False)
        self.resume()

    def resume(self) -> None:
        """Read again after `pause`."""
        if not self.closed and not self._reading:
            self._reading = True
            self._reactor.add_fd(self._fd, FLUX_POLLIN, self._ready)

    def pause(self) -> None:
        """Stop reading, so that the task waits once its pipe is full."""
        if self._reading:
            self._reading = False
            self._reactor.remove_fd(self._fd)

    def _ready(self, _events: int) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            data = b""  # nobody has the terminal open any more
        if not data:
            self.close()
            self._on_data(self._partial, True)
            return
        data = self._cut(data) if self._lines else data
        if data:
            self._on_data(data, False)

    def _cut(self, data: bytes) -> bytes:
        data = self._partial + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= _LONGEST_LINE:
            end = len(data)
        self._partial = data[end:]
        return data[:end]

    def close(self) -> None:
        if not self.closed:
            self.pause()
            self.closed = True
            os.close(self._fd)


class Writer:
    """Input of a task: takes any amount, gives what the task reads.

    Args:
        on_drained: called when all that was written is read, or will never be.
    """

    def __init__(self, reactor: Reactor, fd: int, on_drained: Callable[[], object] | None = None) -> None:
        self._reactor = reactor
        self._fd = fd = aside(fd)
        self._buffer = bytearray()
        self._ending = False
        self._waiting = False
        self._on_drained = on_drained
        self.closed = False
        os.set_blocking(fd, False)

    @property
    def backlog(self) -> int:
        """Bytes that the task has yet to read; 0 when it will not."""
        return 0 if self.closed else len(self._buffer)

    def write(self, data: bytes, eof: bool = False) -> None:
        """Add data; after eof, and once the task has closed its stdin, it is dropped."""
        if self.closed or self._ending:
            return
        self._buffer += data
        self._ending = eof
        self._flush(FLUX_POLLOUT)

    def _flush(self, _events: int) -> None:
        try:
            while self._buffer:
                del self._buffer[: os.write(self._fd, self._buffer)]
        except BlockingIOError:
            self._wait()
            return
        except OSError as exc:
            if exc.errno not in _READS_NO_MORE:
                raise
            self.close()
            return
        self._unwait()
        if self._ending:
            self.close()
        elif self._on_drained is not None:
            self._on_drained()

    def _wait(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._reactor.add_fd(self._fd, FLUX_POLLOUT, self._flush)

    def _unwait(self) -> None:
        if self._waiting:
            self._waiting = False
            self._reactor.remove_fd(self._fd)

    def close(self) -> None:
        if not self.closed:
            self._unwait()
            self.closed = True
            os.close(self._fd)
            if self._on_drained is not None:
                self._on_drained()
