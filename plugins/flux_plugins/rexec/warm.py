"""Warm parents: processes with a program's code already imported, which fork it in a millisecond.

Each is an interpreter of its own rather than a fork of the broker: what forking costs grows with all that is mapped.
The program is named by an option ("pkg.module:function"), so that this plugin knows of none. The function gets a
connected stream socket and serves it. Each request is a 4-byte big-endian length and a JSON object {seq, argv, set,
unset, cwd, brief}, with the program's stdin, stdout and stderr passed along (SCM_RIGHTS); set and unset are what its
environment has otherwise than the parent's, brief is for the program. Answers have the same form: {seq, pid} or {seq,
errno, text}, and {pid, status} once that process has ended.
"""

from __future__ import annotations

import array
import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from flux.errors import FluxError
from flux_plugins.rexec.process import Process, watch_exit

__all__ = ["WarmParent", "pack"]

_MAX_FAILURES = 3  # deaths in a row without a single answer, after which programs are started the slow way
_LENGTH = 4

_SERVE = (
    "import importlib, socket, sys; module, _, name = sys.argv[1].partition(':'); "
    "getattr(importlib.import_module(module), name)(socket.socket(fileno=int(sys.argv[2])))"
)


def pack(obj: Any) -> bytes:
    """The bytes of one request or answer."""
    body = msgspec.json.encode(obj)
    return len(body).to_bytes(_LENGTH, "big") + body


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
        self._env: dict[str, str] = {}
        self._seq = 0
        self._starting: dict[int, Process] = {}
        self._running: dict[int, Process] = {}
        self._answers = 0
        self._failures = 0
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._in = bytearray()

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
        self._in.clear()
        self._loop.add_reader(sock, self._readable)
        watch_exit(pid, lambda status: self._ended(pid, status))

    def close(self) -> None:
        """End it; what it forked goes on."""
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._sock = None

    def _ended(self, pid: int, status: int) -> None:
        if pid != self.pid:
            return
        self.pid = 0
        if self._sock is None:
            return
        self._readable()
        self.close()
        text = f"the warm parent of {self.program} ended with {os.waitstatus_to_exitcode(status)}"
        self._failures = 0 if self._answers else self._failures + 1
        self._answers = 0
        self.usable = self._failures < _MAX_FAILURES
        self._on_lost(text)
        starting, self._starting = self._starting, {}
        self._out.clear()
        for process in starting.values():
            process.failed(FluxError(errno.EIO, f"error launching process: {text}"))
        self._end_orphans()

    def _end_orphans(self) -> None:
        """Kill what a dead parent forked: nobody is left to collect its wait status."""
        orphans, self._running = self._running, {}
        for process in orphans.values():
            process.signal(signal.SIGKILL)
            kill_session(process.pid)
            process.exited(signal.SIGKILL)

    # -- requests

    def launch(self, process: Process, env: Mapping[str, str], brief: Mapping[str, Any]) -> None:
        """Fork the program for a process; it is told `started` and `exited`, or `failed`."""
        self.start()
        self._seq += 1
        command, own = process.command, self._env
        request = {
            "seq": self._seq,
            "argv": command.cmdline,
            "set": {name: value for name, value in env.items() if own.get(name) != value},
            "unset": [name for name in own if name not in env],
            "cwd": command.cwd,
            "brief": brief,
        }
        self._starting[self._seq] = process
        self._out.append((pack(request), process.plumbing.stdio))
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
        while True:
            try:
                data = self._sock.recv(65536)
            except OSError:
                break
            if not data:
                self._loop.remove_reader(self._sock)
                break
            self._in += data
        for answer in self._answers_in():
            self._answers += 1
            self._dispatch(answer)

    def _answers_in(self) -> Iterator[dict[str, Any]]:
        while len(self._in) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._in[:_LENGTH], "big")
            if len(self._in) < end:
                return
            body = bytes(self._in[_LENGTH:end])
            del self._in[:end]
            yield msgspec.json.decode(body)

    def _dispatch(self, answer: dict[str, Any]) -> None:
        if "status" in answer:
            process = self._running.pop(answer["pid"], None)
            if os.WIFSIGNALED(answer["status"]):
                kill_session(answer["pid"])
            if process is not None:
                process.exited(answer["status"])
        elif "pid" in answer:
            process = self._starting.pop(answer["seq"])
            self._running[answer["pid"]] = process
            process.started(answer["pid"])
        else:
            error = FluxError(answer["errno"], f"error launching process: {answer['text']}")
            self._starting.pop(answer["seq"]).failed(error)


def kill_session(sid: int) -> None:
    """Kill what a killed program has left: it had a session of its own, and no chance to end its processes."""
    for _ in range(3):  # again, for what was forked meanwhile
        members = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _in_session(pid, sid)]
        if not members:
            return
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _in_session(pid: int, sid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            state, _ppid, _pgrp, session = stat.read().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return False
    return session == str(sid) and state not in "ZX"


def _rights(fds: list[int]) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
