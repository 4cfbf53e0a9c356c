"""Where the output of a job that is followed is shown (flux-job(1) attach)."""

from __future__ import annotations

import errno
import os
import sys

from flux.job.output import expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, TextIO

    from flux.core.reactor import Reactor

__all__ = ["AttachOutput"]

_MOST_GATHERED = 1 << 16


class AttachOutput:
    """Shows output, and lines about it. What is written in one turn of the loop is flushed at its end.

    Args:
        name: of the command, for messages.
        out, err: where to, by default stdout and stderr. label: begin lines with the rank of their task.
        prefix: stands before the labels.
        patient: go on when it cannot be written any more. Else OSError goes to whoever runs the reactor.

    Attributes:
        incomplete: something was not written for another reason than that nobody reads it.
    """

    def __init__(
        self,
        reactor: Reactor,
        name: str,
        out: TextIO | None,
        err: TextIO | None,
        *,
        label: bool,
        prefix: str,
        patient: bool,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._out, self._err = out or sys.stdout, err or sys.stderr
        # not left to their own buffers: there are none where PYTHONUNBUFFERED is set, and each line would be a write
        self._gathered: dict[TextIO, bytearray] = {self._out: bytearray(), self._err: bytearray()}
        self._label, self._prefix = label, prefix
        self._patient = patient
        self._open_line: dict[str, str] = {}
        """Stream to the rank whose line was written last, while that has no end yet."""
        self._dirty = False
        self.incomplete = False

    def write(self, stream: str, ranks: str, data: bytes) -> None:
        """Show what the tasks of these ranks have written to a stream."""
        target = self._err if stream == "stderr" else self._out
        if self._label:
            data = b"".join(self._labelled(stream, str(rank), data) for rank in expand(ranks))
        gathered = self._gathered[target]
        gathered += data
        if len(gathered) >= _MOST_GATHERED:
            self._put(target)
        if not self._dirty:
            self._dirty = True
            self._reactor.call_soon(self.flush)

    def _labelled(self, stream: str, rank: str, data: bytes) -> bytes:
        prefix = f"{self._prefix}{rank}: ".encode()
        goes_on = self._open_line.get(stream) == rank
        self._open_line[stream] = "" if data.endswith(b"\n") else rank
        text = b"".join(prefix + line for line in data.splitlines(keepends=True))
        return text[len(prefix) :] if goes_on else text

    def say(self, text: str) -> None:
        """A line on err, after the output so far."""
        self.flush()
        self._try(self._err, lambda: self._err.write(text + "\n"))
        self._try(self._err, self._err.flush)

    def flush(self) -> None:
        if self._dirty:
            self._dirty = False
            for target in self._gathered:
                self._put(target)

    def _put(self, target: TextIO) -> None:
        data, self._gathered[target] = memoryview(self._gathered[target]), bytearray()
        self._try(target, lambda: _write(target.buffer, data))

    def _try(self, target: TextIO, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as exc:
            if not self._patient:
                raise
            self._give_up(target, exc)

    def _give_up(self, target: TextIO, error: OSError) -> None:
        """From now on what is written there goes nowhere: leaving the job alone would help nobody."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target.fileno())
        os.close(nowhere)
        if error.errno != errno.EPIPE:
            self.incomplete = True
            self.say(f"flux-{self._name}: {target.name.strip('<>')}: {error.strerror}: further output is not shown")


def _write(file: BinaryIO, data: memoryview) -> None:
    while data:  # a file without a buffer may take less
        taken = file.write(data)
        if taken is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        data = data[taken:]
    file.flush()
