"""The initial program (rc2): run on rank 0 with the instance in its environment; its end ends the instance."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping

__all__ = ["InitialProgram"]


class InitialProgram:
    """A child of the broker that inherits its stdin, stdout and stderr.

    Args:
        command: program and arguments; None runs an interactive shell.
        environ: its environment.
        on_exit: called once with its exit code, 128+N for one that was killed by signal N.
    """

    def __init__(self, command: list[str] | None, environ: Mapping[str, str], on_exit: Callable[[int], None]) -> None:
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.own_group = not (sys.stdin is not None and _is_tty(0))
        self.process = subprocess.Popen(
            command or [environ.get("SHELL", "/bin/sh")],
            env=dict(environ),
            process_group=0 if self.own_group else None,
            restore_signals=True,
        )
        self._pidfd = os.pidfd_open(self.process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    def signal(self, signum: int) -> None:
        """Signal the program, and what it started when it has a process group of its own."""
        if self.process.returncode is not None:
            return
        try:
            if self.own_group:
                os.killpg(self.process.pid, signum)
            else:
                self.process.send_signal(signum)
        except ProcessLookupError:
            return

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self.process.wait()
        self.ended.set()
        self._on_exit(128 - code if code < 0 else code)


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
