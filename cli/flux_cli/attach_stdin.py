"""Send this process's stdin to a job's shell (RFC 24 data objects; protocol of the shell's stdin service)."""

from __future__ import annotations

import errno
import os
import sys

from flux.core.steady import SteadyRPC
from flux.stdio import encode_io
from flux_cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from flux.core.handle import Flux

__all__ = ["StdinSender"]

_POLLIN = 1
_CHUNK = 65536
_READS_NO_MORE = (errno.ENOSYS, errno.EPIPE, errno.ENOENT, errno.EHOSTUNREACH)


class StdinSender:
    """Reads stdin and sends it on, one chunk at a time: the shell's answer asks for the next.

    Args:
        service: the shell's service. rank: broker rank of the leading shell. tasks: idset of task ranks, or "all".
    """

    def __init__(self, handle: Flux, service: str, rank: int, tasks: str) -> None:
        self._handle = handle
        self._reactor = handle.get_reactor()
        self._topic = f"{service}.stdin"
        self._rank = rank
        self._tasks = tasks
        self._origin = os.urandom(8).hex()
        self._number = 0
        self._watched = False
        self._closed = False

    def start(self) -> None:
        """Begin to read, unless stdin is closed or is the terminal of somebody else."""
        if not _in_background():
            self._resume()

    def shows(self, _ranks: str) -> bool:
        """Output of tasks is not shown by this (see `JobTerminal`)."""
        return False

    def close(self) -> None:
        self._pause()
        self._closed = True

    def _resume(self) -> None:
        if self._closed:
            return
        try:
            self._reactor.add_fd(0, _POLLIN, lambda _events: self._read())
            self._watched = True
        except PermissionError:  # a regular file, always ready
            self._reactor.call_soon(self._read)
        except OSError:
            self._closed = True  # there is no stdin

    def _pause(self) -> None:
        if self._watched:
            self._watched = False
            self._reactor.remove_fd(0)

    def _read(self) -> None:
        if self._closed:
            return
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that hung up, a directory: nothing comes any more
        self._pause()
        self._take(data)

    def _take(self, data: bytes) -> None:
        # the end is for all: tasks that get no input must not wait for it either
        request = encode_io("stdin", self._tasks, data) if data else encode_io("stdin", "all", eof=True)
        self._send(request).then(self._sent, bool(data))

    def _refuse(self, error: OSError) -> None:
        """No task takes this input: the tasks that there are get the end of theirs, then this command fails."""

        def fail(_rpc: Any) -> None:
            raise CommandError(f"stdin: {error}")

        self._send(encode_io("stdin", "all", eof=True)).then(fail)

    def _send(self, request: dict[str, Any]) -> SteadyRPC:
        """Send a chunk, again when a broker on the way is lost; by its number the shell takes it once."""
        self._number += 1
        letter = {**request, "mail": [self._origin, self._number]}
        return SteadyRPC(self._handle, lambda: self._handle.rpc(self._topic, letter, nodeid=self._rank))

    def _sent(self, rpc: Any, more: bool) -> None:
        try:
            rpc.get()
        except OSError as exc:
            self._closed = True
            if exc.errno == errno.EINVAL:
                self._refuse(exc)
            elif exc.errno not in _READS_NO_MORE:
                print(f"flux-job: stdin: {exc}", file=sys.stderr)
            return
        if more:
            self._resume()


def _in_background() -> bool:
    try:
        return os.isatty(0) and os.tcgetpgrp(0) != os.getpgrp()
    except OSError:
        return False
