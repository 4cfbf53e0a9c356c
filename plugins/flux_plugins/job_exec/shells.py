"""Shells as processes of the subprocess servers (RFC 42), one per broker rank of the job."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.rpc import RPC
from flux.stdio import decode_io

__all__ = ["Listener", "Shells", "shell_environment"]

_STDOUT_AND_STDERR = 3
_NOT_FOR_SHELLS = ("PMI_FD", "PMI_RANK", "PMI_SIZE", "PMI_PORT", "FLUX_PROXY_REMOTE", "FLUX_KVS_NAMESPACE")


class Listener(Protocol):
    """Who is told what the shells do."""

    def shell_started(self, rank: int) -> None: ...

    def shell_output(self, rank: int, stream: str, data: str) -> None: ...

    def shell_exited(self, rank: int, status: int) -> None:
        """It has ended with a wait status, and its output has ended."""

    def shell_lost(self, rank: int, text: str) -> None: ...


def shell_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This process's environment as shells get it: without what tells this broker about its own launcher."""
    return {name: value for name, value in environ.items() if name not in _NOT_FOR_SHELLS}


class Shells:
    """The shells of one job.

    Args:
        service: the subprocess server. cmdline, env: of each shell.
    """

    def __init__(
        self, flux: AsyncFlux, service: str, cmdline: list[str], env: dict[str, str], listener: Listener
    ) -> None:
        self._flux = flux
        self._service = service
        self._cmdline = cmdline
        self._env = env
        self._listener = listener
        self._component = os.path.basename(cmdline[0])
        self._pids: dict[int, int] = {}
        self._status: dict[int, int] = {}

    @property
    def component(self) -> str:
        """Name of the program, as log events call it."""
        return self._component

    def launch(self, ranks: Sequence[int]) -> None:
        """Start a shell on each rank."""
        cmd = {"cmdline": self._cmdline, "env": self._env, "opts": {}, "channels": []}
        request = {"cmd": cmd, "flags": _STDOUT_AND_STDERR, "local_flags": 0}
        for rank in ranks:
            rpc = self._flux.rpc(f"{self._service}.exec", request, nodeid=rank, flags=FLAG_STREAMING)
            rpc.then(self._responses, rank)

    def _responses(self, rpc: RPC, rank: int) -> None:
        while rpc.is_ready():
            try:
                payload = rpc.get()
            except FluxError as exc:
                self._ended(rank, exc)
            else:
                self._response(rank, payload)
            rpc.reset()

    def _response(self, rank: int, payload: dict[str, Any]) -> None:
        kind = payload["type"]
        if kind == "started":
            self._pids[rank] = payload["pid"]
            self._listener.shell_started(rank)
        elif kind == "finished":
            self._status[rank] = payload["status"]
            self._pids.pop(rank, None)
        elif kind == "output" and "data" in payload["io"]:
            chunk = decode_io(payload["io"])
            self._listener.shell_output(rank, chunk.stream, chunk.data.decode(errors="backslashreplace"))

    def _ended(self, rank: int, error: FluxError) -> None:
        self._pids.pop(rank, None)
        if error.errno == errno.ENODATA and rank in self._status:
            self._listener.shell_exited(rank, self._status[rank])
        else:
            self._listener.shell_lost(rank, str(error))

    def kill(self, signum: int, ranks: Sequence[int]) -> None:
        """Signal shells; those that have ended meanwhile are passed over."""
        for rank in ranks:
            if rank in self._pids:
                self._flux.notify(f"{self._service}.kill", {"pid": self._pids[rank], "signum": signum}, nodeid=rank)

    def signal_tasks(self, jobid: int, signum: int) -> None:
        """Ask all shells to signal their tasks."""
        self._flux.event_send(f"shell-{jobid}.kill", {"signum": signum})
