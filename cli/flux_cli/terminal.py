"""This process's terminal, joined to one in a job or a terminal session (protocol of the service NAME.terminus.N)."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import sys
import termios
import tty

from flux.constants import FLUX_RPC_STREAMING
from flux.stdio import decode_io, encode_io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from flux.core.handle import Flux

__all__ = ["DETACHED", "TerminalClient", "encode"]

DETACHED = "Client requested detach"
"""The message that answers a request to detach."""
DETACH = b"\x1d"
"""What detaches when it is typed: Ctrl-]."""
_CHUNK = 4096
_POLLIN = 1


class TerminalClient:
    """Passes on what is typed and what is shown.

    Args:
        topic: of the remote terminal. rank: of the broker that has it.
        on_end: called once with (message, wait status); status None when the terminal could not be attached to.

    Attributes:
        attached: True from the first answer on.
    """

    def __init__(self, handle: Flux, topic: str, rank: int, on_end: Callable[[str, int | None], object]) -> None:
        self._handle = handle
        self._reactor = handle.get_reactor()
        self._topic, self._rank = topic, rank
        self._on_end = on_end
        self._saved: list[Any] | None = None
        self._watched = False
        self._resized: Any = None
        self._ended = False
        self._exit: tuple[str, int] = ("", 0)
        self.attached = False

    def start(self) -> None:
        request = {"type": "attach", "mode": "rw", "winsize": _window_size()}
        rpc = self._handle.rpc(self._topic, request, nodeid=self._rank, flags=FLUX_RPC_STREAMING)
        rpc.then(self._answer)

    def _answer(self, rpc: Any) -> None:
        try:
            answer = rpc.get()
        except OSError as exc:
            self._end(*(self._exit if exc.errno == errno.ENODATA else self._failure(exc)))
            return
        kind = answer["type"]
        if kind == "attach":
            self._joined()
        elif kind == "data":
            _show(decode_io({"stream": "", "rank": "", **answer}).data)
        elif kind == "exit":
            self._exit = (answer["message"], answer["status"])
            self.close()
        rpc.reset()

    def _failure(self, exc: OSError) -> tuple[str, int | None]:
        text = "No such session" if exc.errno == errno.ENOSYS else str(exc)
        return text, 1 << 8 if self.attached else None

    def _joined(self) -> None:
        self.attached = True
        if os.isatty(0):
            self._saved = termios.tcgetattr(0)
            tty.setraw(0, termios.TCSANOW)
        try:
            self._reactor.add_fd(0, _POLLIN, lambda _events: self._typed())
            self._watched = True
        except PermissionError:  # a regular file, always ready
            self._reactor.call_soon(self._typed)
        self._resized = self._handle.signal_watcher_create(signal.SIGWINCH, lambda *_: self._resize())
        self._resized.start()

    def _end(self, message: str, status: int | None) -> None:
        self.close()
        if not self._ended:
            self._ended = True
            self._on_end(message, status)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._watched:
            self._watched = False
            self._reactor.remove_fd(0)
        if self._resized is not None:
            self._resized.stop()
            self._resized = None
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None
            _show(b"\x1b[?25h")  # a program that was killed may have hidden the cursor

    # -- requests

    def _typed(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = DETACH  # our own terminal has hung up
        if data.startswith(DETACH):
            self._send({"type": "detach"})
        elif data:
            self._send({"type": "data", **encode(data)})
        if self._watched and not data:
            self._watched = False
            self._reactor.remove_fd(0)
        elif not self._watched and data:
            self._reactor.call_soon(self._typed)

    def _resize(self) -> None:
        self._send({"type": "resize", "winsize": _window_size()})

    def _send(self, request: dict[str, Any]) -> None:
        self._handle.rpc(self._topic, request, nodeid=self._rank).then(self._sent)

    def _sent(self, rpc: Any) -> None:
        try:
            rpc.get()
        except OSError as exc:
            if exc.errno != errno.ENOENT:  # the session ended while it was on its way
                self._end(f"remote terminal: {exc}", 1 << 8)


def _window_size() -> dict[str, int]:
    try:
        rows, cols, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        rows, cols = 24, 80  # stdin is no terminal
    return {"rows": rows, "cols": cols}


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def encode(data: bytes) -> dict[str, Any]:
    """Bytes as a request of type data has them."""
    obj = encode_io("", "", data)
    return {key: obj[key] for key in ("data", "encoding") if key in obj}
