"""Processes on any broker of the instance, for scripts and commands (RFC 42; the service `rexec`, flux-exec(1))."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.message import FLAG_STREAMING
from flux.stdio import decode_io, encode_io

if TYPE_CHECKING:
    from flux.core.handle import Flux
    from flux.rexec_signing import RequestSigner
    from flux.ring import RingRoute
    from flux.rpc import RPC

__all__ = [
    "OUTPUT_WINDOW",
    "RemoteProcess",
    "attach_request",
    "exec_request",
    "launch_exitcode",
    "resume_request",
    "start_background",
]

STDOUT, STDERR, CHANNEL, WRITE_CREDIT, WAITABLE = 1, 2, 4, 8, 16

Request = str | dict[str, Any]
"""The payload of a request: encoded, or in signed form."""

OUTPUT_WINDOW = 1 << 20
"""Bytes of output that a process may be ahead of us, where the server knows such a limit."""


def exec_request(
    cmdline: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    label: str | None = None,
    opts: Mapping[str, str] | None = None,
    channels: Iterable[str] = (),
    flags: int = STDOUT | STDERR | WRITE_CREDIT,
    local_flags: int = 0,
    name: str = "",
    heir: str = "",
) -> str:
    """The payload of an exec request, encoded once for any number of ranks.

    Args:
        env: the whole environment; None for that of this process.
        cwd: None for this process's working directory.
        name, heir: for a process that outlives its client: by these it is found again (`resume_request`).
    """
    command = {
        "cmdline": list(cmdline),
        "env": dict(os.environ if env is None else env),
        "cwd": os.getcwd() if cwd is None else cwd,
        "opts": dict(opts or {}),
        "channels": list(channels),
        "msgchan": [],
        **({} if label is None else {"label": label}),
    }
    request = {"cmd": command, "flags": flags, "local_flags": local_flags, "output_window": OUTPUT_WINDOW}
    lasting = {"resumable": name, "heir": heir} if name else {}
    return json.dumps({**request, **lasting}, separators=(",", ":"))


def resume_request(name: str, heir: str) -> str:
    """The payload of a resume request for a process that an earlier client of the same heir started."""
    return json.dumps({"name": name, "received": -1, "heir": heir}, separators=(",", ":"))


def attach_request(pid: int = -1, label: str | None = None, flags: int = STDOUT | STDERR) -> str:
    """The payload of an attach request for a background process, by its pid or its label."""
    return json.dumps({"pid": pid, "flags": flags, **({} if label is None else {"label": label})})


def start_background(flux_handle: Flux | RingRoute, request: Request, nodeid: int, service: str = "rexec") -> RPC:
    """Start a process that nobody listens to; the RPC's payload is {"type": "started", "pid": PID}."""
    return flux_handle.rpc(f"{service}.exec", request, nodeid=nodeid)


class RemoteProcess:
    """A process of another broker while it runs, on the reactor of a handle.

    Args:
        flux_handle: a handle, or the way by the ring.
        request: of `exec_request`, `attach_request` or `resume_request`. method: "exec", "attach" or "resume", to go
            with it.
        rank: of the broker. service: name of the subprocess server.
        sign: brings requests into signed form for a server that asks for it (`flux.rexec_signing.signer_for`);
            the first one is in it already.
        on_output: called with (process, stream, data, eof).
        on_credit: called with (process) when the process can take more input.
        on_end: called once with (process) at its end; `error` or `status` says how it ended.

    Attributes:
        pid: 0 until it runs. status: wait status, None until it has exited.
        error: what kept it from running, or what ended the connection to it.
        credit: bytes of stdin that its server has room for.
    """

    def __init__(
        self,
        flux_handle: Flux | RingRoute,
        request: Request,
        rank: int,
        *,
        service: str = "rexec",
        method: str = "exec",
        sign: RequestSigner | None = None,
        on_output: Callable[[RemoteProcess, str, bytes, bool], Any],
        on_end: Callable[[RemoteProcess], Any],
        on_started: Callable[[RemoteProcess], Any] | None = None,
        on_credit: Callable[[RemoteProcess], Any] | None = None,
    ) -> None:
        self.rank = rank
        self.service = service
        self.method = method
        self.pid = 0
        self.status: int | None = None
        self.error: FluxError | None = None
        self.credit = 0
        self.ended = False
        self._flux, self._sign = flux_handle, sign
        self._on_output, self._on_end = on_output, on_end
        self._on_started, self._on_credit = on_started, on_credit
        self._window = self._taken = 0
        self._rpc = flux_handle.rpc(f"{service}.{method}", request, nodeid=rank, flags=FLAG_STREAMING)
        self._matchtag = self._rpc.matchtag
        self._rpc.then(self._answered)

    @property
    def exitcode(self) -> int:
        """As a shell has it: the exit status, 128 and a signal's number; 68, 126, 127 or 1 when it could not run."""
        if self.error is not None:
            return launch_exitcode(self.error)
        if self.status is None:
            return 1
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    def write(self, data: bytes, eof: bool = False, stream: str = "stdin") -> None:
        """Send input. More than `credit` bytes end the process."""
        if self.ended:
            return
        self.credit -= len(data)
        request = {"matchtag": self._matchtag, "io": encode_io(stream, "0", data, eof)}
        self._flux.notify(*self._addressed("write", request))

    def kill(self, signum: int) -> RPC:
        """Signal the process and its group."""
        return self._flux.rpc(*self._addressed("kill", {"pid": self.pid, "signum": signum}))

    def let_go(self) -> None:
        """Follow it no more; of a process with an heir, what was taken of its output is not sent to that one again."""
        self.ended = True
        self._grant()

    def _answered(self, rpc: RPC) -> None:
        if self.ended:
            return
        try:
            answer = rpc.get()
        except FluxError as exc:
            if exc.errno != errno.ENODATA:
                self.error = exc
            self.ended = True
            self._on_end(self)
            return
        self._handle(answer)
        rpc.reset()

    def _handle(self, answer: dict[str, Any]) -> None:
        kind = answer.get("type")
        if kind == "output":
            self._output(answer["io"])
        elif kind in ("started", "attached"):
            self.pid = answer["pid"]
            self._window = answer.get("output_window", 0)
            if self._on_started is not None:
                self._on_started(self)
        elif kind == "add-credit":
            self.credit += answer["channels"].get("stdin", 0)
            if self._on_credit is not None:
                self._on_credit(self)
        elif kind == "finished":
            self.status = answer["status"]

    def _output(self, io: dict[str, Any]) -> None:
        chunk = decode_io(io)
        self._on_output(self, chunk.stream, chunk.data, chunk.eof)
        if not self._window:
            return
        self._taken += len(chunk.data)
        if self._taken >= self._window // 4:
            self._grant()

    def _grant(self) -> None:
        if self._taken:
            credit = {"matchtag": self._matchtag, "count": self._taken}
            self._flux.notify(*self._addressed("credit", credit))
            self._taken = 0

    def _addressed(self, method: str, request: dict[str, Any]) -> tuple[str, dict[str, Any], int]:
        """Topic, payload and rank of a request."""
        topic = f"{self.service}.{method}"
        return topic, request if self._sign is None else self._sign(topic, request), self.rank


def launch_exitcode(error: FluxError) -> int:
    """Exit code for what kept a command from running, as shells have it, and 68 for a host that is not there."""
    return _LAUNCH_EXIT.get(error.errno, 1)


_EX_NOHOST = 68  # of sysexits.h
_LAUNCH_EXIT = {errno.ENOENT: 127, errno.EACCES: 126, errno.EPERM: 126, errno.EHOSTUNREACH: _EX_NOHOST}
