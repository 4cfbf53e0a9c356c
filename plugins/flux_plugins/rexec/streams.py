"""The server's ends of a process's standard streams and channels, on the event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable

__all__ = ["InputStream", "OutputStream", "Plumbing"]

_READ_SIZE = 65536


class Plumbing:
    """Pipes and socket pairs of a process to be: the server's end and the process's end of each stream.

    Args:
        names: of "stdin", "stdout", "stderr" those that are to be piped; the others are /dev/null.
        channels: names of bidirectional channels (RFC 42).
    """

    def __init__(self, names: Iterable[str], channels: Iterable[str] = ()) -> None:
        self.ours: dict[str, int] = {}
        self.theirs: dict[str, int] = {}
        try:
            for name in ("stdin", "stdout", "stderr"):
                self._open_stdio(name, name in names)
            for name in channels:
                ours, theirs = socket.socketpair()
                self.ours[name], self.theirs[name] = ours.detach(), theirs.detach()
        except OSError:
            self.close_theirs()
            self.close_ours()
            raise

    def _open_stdio(self, name: str, piped: bool) -> None:
        if not piped:
            self.theirs[name] = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            return
        read, write = os.pipe2(os.O_CLOEXEC)
        self.ours[name], self.theirs[name] = (write, read) if name == "stdin" else (read, write)

    @property
    def stdio(self) -> list[int]:
        """The process's stdin, stdout and stderr."""
        return [self.theirs[name] for name in ("stdin", "stdout", "stderr")]

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.popitem()[1])

    def close_ours(self) -> None:
        while self.ours:
            os.close(self.ours.popitem()[1])


class OutputStream:
    """What a process writes, cut at line ends unless unbuffered.

    Args:
        on_data: called with (name, data, eof) for each piece; exactly once with eof.
        limit: longest partial line kept, in bytes.
    """

    def __init__(
        self, name: str, fd: int, on_data: Callable[[str, bytes, bool], None], lines: bool = True, limit: int = 4194304
    ) -> None:
        self.name = name
        self.closed = False
        self._fd = fd
        self._on_data = on_data
        self._lines = lines
        self._limit = limit
        self._partial = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.close()
            self._on_data(self.name, bytes(self._partial), True)
            return
        data = self._whole_lines(data)
        if data:
            self._on_data(self.name, data, False)

    def _whole_lines(self, data: bytes) -> bytes:
        if not self._lines:
            return data
        end = data.rfind(b"\n") + 1
        if not end and len(self._partial) + len(data) >= self._limit:
            end = len(data)
        if not end:
            self._partial += data
            return b""
        whole = bytes(self._partial) + data[:end]
        self._partial = bytearray(data[end:])
        return whole

    def pause(self) -> None:
        """Let the process wait with its output."""
        if not self.closed:
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self.closed:
            self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._fd)
            os.close(self._fd)


class InputStream:
    """What a process reads; written as it takes it.

    Args:
        on_drained: called with the number of bytes the process's pipe has taken.
        channel: the descriptor is a socket whose other direction stays open.
    """

    def __init__(self, fd: int, on_drained: Callable[[int], None], channel: bool = False) -> None:
        self.closed = False
        self._fd = fd
        self._channel = channel
        self._on_drained = on_drained
        self._buffer = bytearray()
        self._ending = False
        self._waiting = False
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the process."""
        return len(self._buffer)

    def write(self, data: bytes, eof: bool = False) -> None:
        """Take data; after eof, and when the process has closed its end, it is dropped."""
        if self.closed or self._ending:
            return
        self._buffer += data
        self._ending = eof
        if not self._waiting:
            self._flush()

    def _flush(self) -> None:
        try:
            sent = os.write(self._fd, self._buffer) if self._buffer else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._buffer[:sent]
        self._wait(bool(self._buffer))
        if sent:
            self._on_drained(sent)
        if self._ending and not self._buffer:
            self.close()

    def _wait(self, wanted: bool) -> None:
        if wanted and not self._waiting:
            self._loop.add_writer(self._fd, self._flush)
        elif self._waiting and not wanted:
            self._loop.remove_writer(self._fd)
        self._waiting = wanted

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._wait(False)
        if self._channel:
            self._shutdown()
        os.close(self._fd)

    def _shutdown(self) -> None:
        with socket.socket(fileno=os.dup(self._fd)) as sock:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the process closed its end first: nothing left to tell it
