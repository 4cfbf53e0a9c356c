"""Commands that the broker runs at its start, clean-up and end: which there are, and one of them being run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.rexec import STDERR, STDOUT, launch_exitcode
from flux.stdio import Chunk, decode_io

if TYPE_CHECKING:
    from flux.module.log import Logger

__all__ = ["Command", "LoggedProcess"]


class Command(NamedTuple):
    """A command line. title: how the log calls it."""

    argv: tuple[str, ...]
    title: str

    @classmethod
    def shell(cls, line: str, environ: Mapping[str, str]) -> Command:
        """A line for the user's shell."""
        return cls((environ.get("SHELL") or "/bin/sh", "-c", line), line)


class LoggedProcess:
    """A command under the local subprocess server, its output going to the log line by line: stderr as errors.

    Args:
        label: in front of each line, and in `flux sproc ps`.
    """

    def __init__(self, flux: AsyncFlux, rank: int, log: Logger, label: str) -> None:
        self._flux = flux
        self._rank = rank
        self._log = log
        self._label = label
        self._rests: dict[str, bytes] = {}

    async def run(self, command: Command, environ: Mapping[str, str]) -> int:
        """Run it to its end; gives its exit code, 128+N for signal N, 126 or 127 when it cannot be executed."""
        cmd = {"cmdline": [*command.argv], "env": environ, "cwd": os.getcwd(), "label": self._label}
        status = 0
        try:
            request = {"cmd": cmd, "flags": STDOUT | STDERR}
            async for answer in self._flux.rpc("rexec.exec", request, self._rank, FLAG_STREAMING):
                if answer["type"] == "output":
                    self._output(decode_io(answer["io"]))
                elif answer["type"] == "finished":
                    status = answer["status"]
        except FluxError as exc:
            self._log.error(f"{self._label}: {command.title}: {exc}")
            return launch_exitcode(exc)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def kill(self, signum: int) -> None:
        """Signal the process, if there is one."""
        self._flux.notify("rexec.kill", {"pid": -1, "signum": signum, "label": self._label}, self._rank)

    def _output(self, chunk: Chunk) -> None:
        *lines, rest = (self._rests.get(chunk.stream, b"") + chunk.data).split(b"\n")
        if chunk.eof and rest:
            lines, rest = [*lines, rest], b""
        self._rests[chunk.stream] = rest
        write = self._log.error if chunk.stream == "stderr" else self._log.info
        for line in lines:
            write(f"{self._label}: {line.decode(errors='replace')}")
