"""What a client of the subprocess server hears of its process: a stream of responses, or one (RFC 42, exec)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import msgspec

from flux.errors import EndOfStream, FluxError
from flux.message import Message
from flux.module.congestion import congested_link
from flux.stdio import encode_io
from flux_plugins.rexec.process import Process
from flux_plugins.rexec.protocol import Flag

if TYPE_CHECKING:
    from flux_plugins.rexec.module import Rexec

__all__ = ["Attached", "Background", "Foreground"]

RETAINED_OUTPUT = 65536
"""Bytes of output of a waitable background process that are kept for `wait`."""


class Foreground:
    """Listener of a streaming exec request: started, output, finished, end of stream.

    Output is read from the process only as fast as it gets away: while the connection that the request came in by
    has much queued, or the client has not granted more than `window` bytes (0: any number), the process waits.
    """

    def __init__(self, server: Rexec, msg: Message, flags: int, window: int = 0) -> None:
        self._server = server
        self._msg = msg
        self._flags = flags
        self._window = window
        self._underway = 0
        self._congested = False
        self._rank = server.attrs["rank"]
        self.sender = msg.sender
        self.matchtag = msg.matchtag
        self.ended = False
        """True when the client wants no more responses."""

    def on_started(self, process: Process) -> None:
        self._server.add(process)
        window = {"output_window": self._window} if self._window else {}
        self._respond({"type": "started", "pid": process.pid, **window})
        if self._flags & Flag.WRITE_CREDIT:
            self._respond(
                {"type": "add-credit", "channels": {name: process.limit(name) for name in process.writable()}}
            )

    def on_failed(self, process: Process, error: FluxError) -> None:
        self._server.respond_error(self._msg, error)
        self._server.forget(process)

    def on_output(self, process: Process, stream: str, data: bytes, eof: bool) -> None:
        self._respond_output(process.pid, stream, data, eof)
        if not self.ended:
            self._throttle(process, len(data))

    def _respond_output(self, pid: int, stream: str, data: bytes, eof: bool) -> None:
        self._respond({"type": "output", "pid": pid, "io": encode_io(stream, self._rank, data, eof)})

    def _throttle(self, process: Process, count: int) -> None:
        self._underway += count
        if self._window and self._underway >= self._window:
            process.pause()
        link = None if self._congested else congested_link(self._server, self._msg)
        if link is not None:
            self._congested = True
            process.pause()
            link.when_drained(lambda: self._drained(process))

    def _drained(self, process: Process) -> None:
        self._congested = False
        self._go_on(process)

    def taken(self, process: Process, count: int) -> None:
        """The client has taken count bytes of output."""
        self._underway = max(0, self._underway - count)
        self._go_on(process)

    def _go_on(self, process: Process) -> None:
        if self.ended or not (self._congested or (self._window and self._underway >= self._window)):
            process.resume()

    def on_stopped(self, process: Process) -> None:
        self._respond({"type": "stopped"})

    def disconnected(self, process: Process) -> None:
        """The client is gone, and with it the process."""
        self.ended = True
        process.signal(signal.SIGKILL)
        process.resume()

    def on_drained(self, process: Process, stream: str, count: int) -> None:
        if self._flags & Flag.WRITE_CREDIT:
            self._respond({"type": "add-credit", "channels": {stream: count}})

    def on_finished(self, process: Process) -> None:
        self._respond({"type": "finished", "status": process.status})

    def on_complete(self, process: Process) -> None:
        self._server.forget(process)
        self._end(EndOfStream())

    def overrun(self, process: Process, error: FluxError) -> None:
        """The client wrote more than it had credit for: the request ends with an error."""
        process.signal(signal.SIGKILL)
        self._end(error)
        process.resume()

    def _end(self, error: FluxError) -> None:
        if not self.ended:
            self.ended = True
            self._server.respond_error(self._msg, error)

    def _respond(self, payload: dict[str, Any]) -> None:
        if not self.ended:
            self._server.respond(self._msg, payload)


class Background:
    """Listener of a process without a client: its output goes to the log, its status to whoever waits."""

    def __init__(self, server: Rexec, msg: Message, waitable: bool) -> None:
        self._server = server
        self._msg = msg
        self._rank = server.attrs["rank"]
        self.waitable = waitable
        self.waiter: Message | None = None
        self._output: list[dict[str, Any]] = []
        self._retained = 0

    def on_started(self, process: Process) -> None:
        self._server.add(process)
        self._server.respond(self._msg, {"type": "started", "pid": process.pid})

    def on_failed(self, process: Process, error: FluxError) -> None:
        self._server.respond_error(self._msg, error)
        self._server.forget(process)

    def on_output(self, process: Process, stream: str, data: bytes, eof: bool) -> None:
        if self.waitable and data and self._retained + len(data) <= RETAINED_OUTPUT:
            self._retained += len(data)
            self._output.append(encode_io(stream, self._rank, data))
        name = process.label or process.command.cmdline[0]
        for line in data.decode(errors="replace").splitlines():
            self._server.log.info(f"{name}[{process.pid}] {stream}: {line}")

    def on_drained(self, process: Process, stream: str, count: int) -> None:
        """Nobody writes to a process in the background."""

    def on_stopped(self, process: Process) -> None:
        """Nobody listens."""

    def retained(self) -> list[dict[str, Any]]:
        """The output kept so far, as io objects; it is not kept any longer."""
        output, self._output = self._output, []
        self._retained = 0
        return output

    def on_finished(self, process: Process) -> None:
        """Told when its output has ended as well."""

    def on_complete(self, process: Process) -> None:
        if not self.waitable:
            self._server.forget(process)
        elif self.waiter is not None:
            self.answer(process, self.waiter)

    def answer(self, process: Process, waiter: Message) -> None:
        """Give the wait status to the one who waited."""
        self._server.forget(process)
        self._server.respond(waiter, {"status": process.status, "output": self._output})


class Attached(Foreground):
    """Listener of an attach request: what a background process does from now on, to one client (RFC 42, attach)."""

    def __init__(self, server: Rexec, msg: Message, flags: int, background: Background) -> None:
        super().__init__(server, msg, flags)
        self._background = background

    def begin(self, process: Process) -> None:
        """Tell what the process is, the output that was kept of it, and what of it has ended already."""
        self._respond({"type": "attached", "pid": process.pid, "cmd": msgspec.to_builtins(process.command)})
        for io in self._background.retained():
            if self._forwards(io["stream"]):
                self._respond({"type": "output", "pid": process.pid, "io": io})
        for name, stream in process.outputs.items():
            if stream.closed:
                self.on_output(process, name, b"", True)
        if process.status is not None:
            self.on_finished(process)
        if process.complete:
            self.on_complete(process)

    def _forwards(self, stream: str) -> bool:
        return bool(self._flags & {"stdout": Flag.STDOUT, "stderr": Flag.STDERR}.get(stream, Flag.CHANNEL))

    def on_output(self, process: Process, stream: str, data: bytes, eof: bool) -> None:
        if self._forwards(stream):
            super().on_output(process, stream, data, eof)

    def disconnected(self, process: Process) -> None:
        """The client is gone; the process goes on in the background."""
        self.ended = True
        self._server.released(process, self)
        process.listener = self._background
        process.resume()
        if process.complete:
            self._background.on_complete(process)
