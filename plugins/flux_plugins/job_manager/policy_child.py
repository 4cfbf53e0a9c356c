"""The process of an isolated policy, as the job manager holds it: a socket, its exit, and what ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from flux_plugins.job_manager.policy_wire import Frames, frame

__all__ = ["Child"]


class Child:
    """A process, the socket to it, and the pipe whose closing ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Any, died: Any) -> None:
        self._loop, self._take, self._on_death = loop, take, died
        self._frames = Frames()
        self._outbox = bytearray()
        self._sock, theirs = socket.socketpair()
        alive, self._lifeline = os.pipe()
        fds = (theirs.fileno(), alive)
        command = [sys.executable, "-P", "-m", "flux_plugins.job_manager.policy_worker", *map(str, fds)]
        self.process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, start_new_session=True)
        theirs.close()
        os.close(alive)
        self._sock.setblocking(False)
        self._pidfd = os.pidfd_open(self.process.pid)
        loop.add_reader(self._sock, self._readable)
        loop.add_reader(self._pidfd, self._exited)

    def send(self, message: Mapping[str, Any]) -> None:
        self._outbox += frame(message)
        self._flush()

    def _flush(self) -> None:
        try:
            del self._outbox[: self._sock.send(self._outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._outbox.clear()  # it is gone, which its exit will tell
        if self._outbox:
            self._loop.add_writer(self._sock, self._flush)
        else:
            self._loop.remove_writer(self._sock)

    def _readable(self) -> bool:
        try:
            data = self._sock.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock)
            return False
        for message in self._frames.feed(data):
            self._take(message)
        return True

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    def close(self, patience: float) -> None:
        """Let the process end, by force after some seconds. Its end is not reported."""
        self._on_death = self._take = lambda _what: None
        self._flush()
        self._sock.shutdown(socket.SHUT_WR)
        if patience:
            self._loop.call_later(patience, self.kill)
        else:
            self.kill()

    def _exited(self) -> None:
        while self._readable():
            pass
        code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
        for fd in (self._sock, self._pidfd):
            self._loop.remove_reader(fd)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        os.close(self._pidfd)
        os.close(self._lifeline)
        self._on_death(how)
