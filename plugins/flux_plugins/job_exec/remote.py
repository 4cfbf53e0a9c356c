"""One shell as a process of a subprocess server (RFC 42), followed also when brokers on the way to it are lost."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from flux.core.steady import FIRST_DELAY, LONGEST_DELAY
from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.rpc import RPC
from flux.stdio import decode_io

if TYPE_CHECKING:
    from flux_plugins.job_exec.shells import Shells

__all__ = ["HEIR", "OUTPUT_WINDOW", "RemoteShell"]

HEIR = "job-exec"
"""Shells outlive this service, for the next one to take over."""

OUTPUT_WINDOW = 1 << 16
"""Bytes of output that a shell's server keeps until we have taken them."""


class RemoteShell:
    """A shell from its launch to its end.

    EHOSTUNREACH means that a broker between here and there is lost. The one there lives, as far as is known, until
    its rank leaves the instance (`rank_gone`); till then it is asked again and again to go on with the request.

    Args:
        shells: those of the job; gives handle, request and listener.
    """

    def __init__(self, shells: Shells, rank: int) -> None:
        self._shells = shells
        self._rank = rank
        self._rpc: RPC
        self._pid = 0
        self._status: int | None = None
        self._started = self._over = False
        self._received = self._taken = self._signal = 0
        self._broken: FluxError | None = None
        self._delay = FIRST_DELAY

    def launch(self) -> None:
        if not self._over:
            self._received, self._broken = 0, None
            self._send("exec", self._shells.request)

    def take_over(self, started: bool) -> None:
        """Follow a shell that another service launched; launch it when it never was, unless it is known to be."""
        self._received = -1
        self._started = started
        self._broken = None if started else FluxError(errno.EHOSTUNREACH)
        self._resume()

    def let_go(self) -> None:
        """Follow it no more, and have what was taken of its output forgotten."""
        if not self._over and self._taken:
            self._notify("credit", {"matchtag": self._rpc.matchtag, "count": self._taken})
        self._end()

    def _send(self, method: str, payload: object) -> None:
        topic = f"{self._shells.service}.{method}"
        self._rpc = self._shells.flux.rpc(topic, payload, nodeid=self._rank, flags=FLAG_STREAMING)
        self._rpc.then(self._responses)

    def _responses(self, rpc: RPC) -> None:
        while rpc.is_ready() and not self._over:
            try:
                payload = rpc.get()
            except FluxError as exc:
                self._failed(exc)
            else:
                self._response(payload)
            rpc.reset()

    def _response(self, payload: dict[str, Any]) -> None:
        kind = payload["type"]
        if kind == "started":
            if self._received < 0:
                self._received = payload.get("sent", 0)  # it is not told of one that has started only now
            self._on_started(payload["pid"])
        elif kind == "finished":
            self._status = payload["status"]
            self._pid = 0
        elif kind == "output":
            self._received += 1
            if "data" in payload["io"]:
                self._on_output(payload["io"])

    def _on_started(self, pid: int) -> None:
        self._pid = pid
        self._broken, self._delay = None, FIRST_DELAY
        if not self._started:
            self._started = True
            self._shells.listener.shell_started(self._rank)
        elif self._signal:
            self._notify("kill", {"pid": pid, "signum": self._signal})

    def _on_output(self, io: dict[str, Any]) -> None:
        chunk = decode_io(io)
        self._taken += len(chunk.data)
        if self._taken >= OUTPUT_WINDOW // 4:
            self._notify("credit", {"matchtag": self._rpc.matchtag, "count": self._taken})
            self._taken = 0
        text = chunk.data.decode(errors="backslashreplace")
        self._shells.listener.shell_output(self._rank, chunk.stream, text)

    def kill(self, signum: int) -> None:
        """Signal it; once it has ended nothing happens."""
        self._signal = signum
        if self._pid:
            self._notify("kill", {"pid": self._pid, "signum": signum})

    def _notify(self, method: str, payload: dict[str, Any]) -> None:
        self._shells.flux.notify(f"{self._shells.service}.{method}", payload, nodeid=self._rank)

    # -- the end, of the shell or of the way to it

    def _failed(self, error: FluxError) -> None:
        if error.errno == errno.ENODATA and self._status is not None:
            self._end()
            self._shells.listener.shell_exited(self._rank, self._status)
        elif error.errno == errno.EHOSTUNREACH and self._shells.is_present(self._rank):
            self._broken = self._broken or error
            self._shells.flux.call_later(self._delay, self._resume)
            self._delay = min(2 * self._delay, LONGEST_DELAY)
        elif error.errno == errno.ENOENT and self._broken is not None and not self._started:
            self.launch()  # the request itself was lost
        else:
            self._lose(str(self._broken or error), 0 if self._broken else error.errno)

    def _resume(self) -> None:
        if not self._over:
            self._taken = 0
            name = self._shells.request["resumable"]
            self._send("resume", {"name": name, "received": self._received, "heir": HEIR})

    def rank_gone(self, host: str) -> None:
        """Its broker has left the instance."""
        if self._broken is not None and not self._over:
            text = str(self._broken)
            self._lose(text if f"(rank {self._rank})" in text else f"{host} (rank {self._rank}) is lost: {text}")

    def _lose(self, text: str, errnum: int = 0) -> None:
        if not self._over:
            self._end()
            self._shells.listener.shell_lost(self._rank, text, errnum)

    def _end(self) -> None:
        self._over = True
        self._pid = 0
