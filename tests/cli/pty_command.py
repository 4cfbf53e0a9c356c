"""Commands of an instance on a terminal of their own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

from flux.testing import Instance

_LIMIT = 90.0
"""Seconds from its start after which a command is taken for stuck."""

__all__ = ["Terminal"]


class Terminal:
    """A command whose stdin, stdout and stderr are a terminal of 80 columns and 24 lines; `with` ends it.

    Attributes:
        shown: what it has written so far.
        pid: its process id.
    """

    def __init__(self, instance: Instance, *command: str) -> None:
        self._instance = instance
        self._command = command
        self.shown = ""

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        size = {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
        env = {**self._instance.env, "FLUX_URI": self._instance.uri_of(0), **size}
        self._process = subprocess.Popen(self._command, env=env, stdin=slave, stdout=slave, stderr=slave)
        self.pid = self._process.pid
        os.close(slave)
        self._deadline = time.monotonic() + _LIMIT
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read_until(self, text: str) -> None:
        """Read until text was shown; AssertionError when the command ends before."""
        while text not in self.shown:
            assert self._read(), f"{text!r} was not shown: {self.shown!r}"

    def wait(self) -> int:
        """Read to the end; gives the exit code."""
        while self._read():
            pass
        return self._process.wait()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, self._deadline - time.monotonic()))
        assert ready and time.monotonic() < self._deadline, f"still running: {self.shown[-2000:]!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux tells of the last writer's end
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
