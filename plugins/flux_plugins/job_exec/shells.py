"""Shells as processes of the subprocess servers (RFC 42), one per broker rank of the job."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from flux.core.aio import AsyncFlux
from flux.errors import FluxError
from flux.job.fluid import encode as encode_id
from flux.kvs.requests import Lookup, lookup_async
from flux_plugins.job_exec.remote import HEIR, OUTPUT_WINDOW, RemoteShell

__all__ = ["Listener", "Shells", "shell_environment"]

_STDOUT_AND_STDERR = 3
_LONGEST_BRIEF = 1 << 18
"""Characters of J sent to all shells of a job together: those of a larger job ask the brokers beside them."""
_NOT_FOR_SHELLS = ("PMI_FD", "PMI_RANK", "PMI_SIZE", "PMI_PORT", "FLUX_PROXY_REMOTE", "FLUX_KVS_NAMESPACE")


class Listener(Protocol):
    """Who is told what the shells do."""

    def shell_started(self, rank: int) -> None: ...

    def shell_output(self, rank: int, stream: str, data: str) -> None: ...

    def shell_exited(self, rank: int, status: int) -> None:
        """It has ended with a wait status, and its output has ended."""

    def shell_lost(self, rank: int, text: str, errnum: int = 0) -> None:
        """It could not be started, for the reason errnum, or it is not known any more what it does."""


def shell_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """This process's environment as shells get it: without what tells this broker about its own launcher."""
    return {name: value for name, value in environ.items() if name not in _NOT_FOR_SHELLS}


class Shells:
    """The shells of one job.

    Args:
        service: the subprocess server. cmdline, env: of each shell. name: unique to the job.
        job: its id and R. is_present: whether a rank is part of the instance, as far as is known.
    """

    def __init__(
        self,
        flux: AsyncFlux,
        service: str,
        cmdline: list[str],
        env: dict[str, str],
        job: Mapping[str, Any],
        listener: Listener,
        is_present: Callable[[int], bool],
    ) -> None:
        self.flux = flux
        self.service = service
        self.listener = listener
        self.is_present = is_present
        self.component = os.path.basename(cmdline[0])
        """Name of the program, as log events call it."""
        self.request: dict[str, Any] = {
            "cmd": {"cmdline": cmdline, "env": env, "opts": {}, "channels": []},
            "flags": _STDOUT_AND_STDERR,
            "local_flags": 0,
            "output_window": OUTPUT_WINDOW,
            "resumable": str(job["id"]),
            "heir": HEIR,
            "quiet": True,
        }
        self._job = job
        self._shells: dict[int, RemoteShell] = {}

    def launch(self, ranks: Sequence[int]) -> None:
        """Start a shell on each rank."""
        for rank in ranks:
            self._shells[rank] = RemoteShell(self, rank)
        if "/" in self.request["cmd"]["cmdline"][0]:
            self._launch()
        else:
            jobspec = lookup_async(self.flux, f"{encode_id(self._job['id'], 'kvs')}.J", namespace="primary")
            jobspec.then(self._brief)

    def _brief(self, jobspec: Lookup) -> None:
        """Tell the shells what they would ask for; where that cannot be had they will say so."""
        try:
            signed = jobspec.value().decode()
        except (FluxError, UnicodeDecodeError):
            signed = ""
        if 0 < len(signed) * len(self._shells) <= _LONGEST_BRIEF:
            self.request["brief"] = {"J": signed, "R": self._job["R"]}
        self._launch()

    def _launch(self) -> None:
        for shell in self._shells.values():
            shell.launch()

    def resume(self, ranks: Sequence[int], started: bool, _began: float) -> None:
        """Take over shells that another execution service launched, or was about to.

        Args:
            started: the job is running, so that each of them was launched.
        """
        for rank in ranks:
            self._shells[rank] = RemoteShell(self, rank)
            self._shells[rank].take_over(started)

    def let_go(self) -> None:
        """Follow them no more."""
        for shell in self._shells.values():
            shell.let_go()

    def kill(self, signum: int, ranks: Sequence[int]) -> None:
        """Signal shells; those that have ended meanwhile are passed over."""
        for rank in ranks:
            if rank in self._shells:
                self._shells[rank].kill(signum)

    def rank_gone(self, rank: int, host: str) -> None:
        """A broker has left the instance."""
        if rank in self._shells:
            self._shells[rank].rank_gone(host)

    def signal_tasks(self, jobid: int, signum: int) -> None:
        """Ask all shells to signal their tasks."""
        self.flux.event_send(f"shell-{jobid}.kill", {"signum": signum})
