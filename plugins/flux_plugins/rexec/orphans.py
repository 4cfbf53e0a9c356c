"""Programs that go on after the death of the warm parent that forked them.

Nobody collects their wait status for us then. They have kept the parent's end of its socket, and tell there what they
end with; of one that is killed nothing is heard.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from flux_plugins.rexec.process import Process

__all__ = ["Answers", "Orphans", "kill_session", "pack"]

_LENGTH = 4


def pack(obj: Any) -> bytes:
    """The bytes of one request or answer."""
    body = msgspec.json.encode(obj)
    return len(body).to_bytes(_LENGTH, "big") + body


class Answers:
    """What a warm parent and its programs say on a socket that does not block.

    Attributes:
        ended: True once nobody is left at the other end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = bytearray()
        self.ended = False

    def read(self) -> Iterator[dict[str, Any]]:
        """All that is there."""
        while not self.ended:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.ended = not data
            self._data += data
        return self._taken()

    def _taken(self) -> Iterator[dict[str, Any]]:
        while len(self._data) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._data[:_LENGTH], "big")
            if len(self._data) < end:
                return
            body = bytes(self._data[_LENGTH:end])
            del self._data[:end]
            yield msgspec.json.decode(body)


class Orphans:
    """What one dead parent has left; each process is told `exited`.

    Args:
        sock: our end of the parent's socket; closed at the end. answers: of it. running: by process id.
    """

    def __init__(self, sock: socket.socket, answers: Answers, running: Mapping[int, Process]) -> None:
        self._sock = sock
        self._answers = answers
        self._statuses: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)
        for process in running.values():
            self._watch(process)
        if not self._pidfds:
            self._hang_up()

    def __len__(self) -> int:
        return len(self._pidfds)

    def _watch(self, process: Process) -> None:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._has_exited(process)
            return
        self._pidfds[process.pid] = pidfd
        self._loop.add_reader(pidfd, self._exited, process)

    def _read(self) -> None:
        for answer in self._answers.read():
            if "status" in answer:
                self._statuses[answer["pid"]] = answer["status"]
            elif "pid" in answer:  # it was forked last: another parent has been asked for it since
                with suppress(ProcessLookupError):
                    os.kill(answer["pid"], signal.SIGKILL)
        if self._answers.ended:
            self._loop.remove_reader(self._sock)

    def _exited(self, process: Process) -> None:
        self._forget(process.pid)
        self._has_exited(process)
        if not self._pidfds:
            self._hang_up()

    def _has_exited(self, process: Process) -> None:
        self._read()  # it spoke before it ended
        status = self._statuses.pop(process.pid, signal.SIGKILL)
        if os.WIFSIGNALED(status):
            kill_session(process.pid)
        process.exited(status)

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)

    def _hang_up(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def close(self) -> None:
        """Watch those that are left no more."""
        if self._pidfds:
            for pid in list(self._pidfds):
                self._forget(pid)
            self._hang_up()


def kill_session(sid: int) -> None:
    """Kill what a killed program has left: it had a session of its own, and no chance to end its processes."""
    for _ in range(3):  # again, for what was forked meanwhile
        members = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _in_session(pid, sid)]
        if not members:
            return
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _in_session(pid: int, sid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state, _ppid, _pgrp, session = stat.read().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return False
    return session == str(sid) and state not in "ZX"
