"""Warm parents: processes with a program's code already imported, which fork it in a millisecond.

Each is an interpreter of its own rather than a fork of the broker: what forking costs grows with all that is mapped.
The program is named by an option ("pkg.module:function"), so that this plugin knows of none. The function gets a
connected stream socket and serves it. Each request is a 4-byte big-endian length and a JSON object {seq, argv, set,
unset, cwd, brief}, with the program's stdin, stdout and stderr passed along (SCM_RIGHTS); set and unset are what its
environment has otherwise than the parent's, brief is for the program. Answers have the same form: {seq, pid}, which the
new process says itself, or {seq, errno, text}; and {seq, pid, status} once it has ended.
"""

from __future__ import annotations

import array
import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flux.errors import FluxError
from flux_plugins.rexec.orphans import Answers, Orphans, kill_session, pack
from flux_plugins.rexec.process import Process, watch_exit

__all__ = ["WarmParent"]

_MAX_FAILURES = 3  # deaths in a row without a single answer, after which programs are started the slow way

_SERVE = (
    "import importlib, socket, sys; module, _, name = sys.argv[1].partition(':'); "
    "getattr(importlib.import_module(module), name)(socket.socket(fileno=int(sys.argv[2])))"
)


class _Request(NamedTuple):
    """For a program that is not forked yet. is_repeated: a parent that was asked has died."""

    process: Process
    content: dict[str, Any]
    is_repeated: bool = False


class WarmParent:
    """The server's side of one warm parent; starts it again when it has died.

    Args:
        program: name of the program it forks.
        target: "module:function" of its server.
        on_lost: called with a line for the log when it has died.
    """

    def __init__(self, program: str, target: str, on_lost: Callable[[str], None]) -> None:
        self.program = program
        self.target = target
        self.usable = True
        self.pid = 0
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._in: Answers
        self._orphans: list[Orphans] = []
        self._env: dict[str, str] = {}
        self._seq = 0
        self._starting: dict[int, _Request] = {}
        self._running: dict[int, Process] = {}
        self._answers = 0
        self._failures = 0
        self._out: deque[tuple[bytes, list[int]]] = deque()

    # -- life

    def start(self) -> None:
        """Start it unless it runs."""
        if self._sock is not None:
            return
        ours, theirs = socket.socketpair()
        self._env = dict(os.environ)
        with theirs:
            popen = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE, self.target, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=self._env,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        popen.returncode = 0  # watch_exit collects it
        self._attach(popen.pid, ours)

    def _attach(self, pid: int, sock: socket.socket) -> None:
        self.pid, self._sock = pid, sock
        sock.setblocking(False)
        self._in = Answers(sock)
        self._loop.add_reader(sock, self._readable)
        watch_exit(pid, lambda status: self._ended(pid, status))

    def close(self) -> None:
        """End it; what it forked goes on."""
        if self._sock is not None:
            self._detached().close()
        for orphans in self._orphans:
            orphans.close()
        self._orphans.clear()

    def _detached(self) -> socket.socket:
        sock, self._sock = self._sock, None
        assert sock is not None
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
        return sock

    def _ended(self, pid: int, status: int) -> None:
        if pid != self.pid:
            return
        self.pid = 0
        if self._sock is None:
            return
        self._readable()
        sock = self._detached()
        text = f"the warm parent of {self.program} ended with {os.waitstatus_to_exitcode(status)}"
        self._failures = 0 if self._answers else self._failures + 1
        self._answers = 0
        self.usable = self._failures < _MAX_FAILURES
        self._on_lost(text)
        running, self._running = self._running, {}
        self._orphans = [orphans for orphans in self._orphans if orphans]
        self._orphans.append(Orphans(sock, self._in, running))
        starting, self._starting = self._starting, {}
        self._out.clear()
        for request in starting.values():
            self._ask_again(request, text)

    def _ask_again(self, request: _Request, reason: str) -> None:
        """Once: what kills one parent may kill the next."""
        if request.is_repeated or not self.usable:
            request.process.failed(FluxError(errno.EIO, f"error launching process: {reason}"))
            return
        self.start()
        self._ask(request._replace(is_repeated=True))

    # -- requests

    def launch(self, process: Process, env: Mapping[str, str], brief: Mapping[str, Any]) -> None:
        """Fork the program for a process; it is told `started` and `exited`, or `failed`."""
        self.start()
        command, own = process.command, self._env
        request = {
            "argv": command.cmdline,
            "set": {name: value for name, value in env.items() if own.get(name) != value},
            "unset": [name for name in own if name not in env],
            "cwd": command.cwd,
            "brief": brief,
        }
        self._ask(_Request(process, request))

    def _ask(self, request: _Request) -> None:
        self._seq += 1
        self._starting[self._seq] = request
        self._out.append((pack({"seq": self._seq, **request.content}), request.process.plumbing.stdio))
        if len(self._out) == 1:
            self._flush()

    def preload(self) -> None:
        """Start it and have it import all of its program now, rather than with the first request."""
        self.start()
        self._out.append((pack({"preload": True}), []))
        if len(self._out) == 1:
            self._flush()

    def _flush(self) -> None:
        assert self._sock is not None
        while self._out:
            data, fds = self._out[0]
            try:
                sent = self._sock.sendmsg([data], _rights(fds))
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._flush)
                return
            except OSError:
                return  # it has died: `_ended` answers for it
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])
        self._loop.remove_writer(self._sock)

    # -- answers

    def _readable(self) -> None:
        assert self._sock is not None
        for answer in self._in.read():
            self._answers += 1
            self._dispatch(answer)
        if self._in.ended:
            self._loop.remove_reader(self._sock)

    def _dispatch(self, answer: dict[str, Any]) -> None:
        request = self._starting.pop(answer.get("seq"), None)
        if request is not None and "pid" in answer:
            self._running[answer["pid"]] = request.process
            request.process.started(answer["pid"])
        if "status" in answer:
            process = self._running.pop(answer["pid"], None)
            if os.WIFSIGNALED(answer["status"]):
                kill_session(answer["pid"])
            if process is not None:
                process.exited(answer["status"])
        elif request is not None and "errno" in answer:
            request.process.failed(FluxError(answer["errno"], f"error launching process: {answer['text']}"))


def _rights(fds: list[int]) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
