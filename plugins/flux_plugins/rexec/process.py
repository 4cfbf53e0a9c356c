"""One process of the subprocess server: its streams, signals and end."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from flux.errors import FluxError
from flux_plugins.rexec.protocol import Command, LocalFlag
from flux_plugins.rexec.streams import InputStream, OutputStream, Plumbing

__all__ = ["DEFAULT_BUFSIZE", "Listener", "Process", "launch_error", "parse_size", "spawn", "watch_exit"]

DEFAULT_BUFSIZE = 4194304
_SUFFIX = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Listener(Protocol):
    """Who is told what a process does."""

    def on_started(self, process: Process) -> None: ...

    def on_failed(self, process: Process, error: FluxError) -> None:
        """It could not be started; nothing else follows."""

    def on_output(self, process: Process, stream: str, data: bytes, eof: bool) -> None: ...

    def on_drained(self, process: Process, stream: str, count: int) -> None: ...

    def on_stopped(self, process: Process) -> None: ...

    def on_finished(self, process: Process) -> None:
        """It has exited; output may still follow."""

    def on_complete(self, process: Process) -> None:
        """It has exited, and its output has ended."""


def parse_size(text: str) -> int:
    """A size such as "64k" in bytes. FluxError EINVAL."""
    number = text.rstrip("kKmMgG")
    try:
        size = int(float(number) * _SUFFIX[text[len(number) :].lower()])
    except (ValueError, KeyError):
        raise FluxError(errno.EINVAL, f"{text!r} is no buffer size: it should look like 4096 or 64k") from None
    if size <= 0:
        raise FluxError(errno.EINVAL, f"a buffer size is above 0, not {text!r}")
    return size


class Process:
    """A process from its exec request until its last output.

    Args:
        streams: which of stdin, stdout, stderr are piped to the listener.
        pid: 0 until it is started. status: wait status, None until it has exited.
    """

    def __init__(self, command: Command, local_flags: int, streams: tuple[str, ...], listener: Listener) -> None:
        self.command = command
        self.local_flags = local_flags
        self.listener = listener
        self.pid = 0
        self.status: int | None = None
        self.complete = False
        self.outputs: dict[str, OutputStream] = {}
        self.inputs: dict[str, InputStream] = {}
        self._pending_signal = 0
        self._limits = {
            name: parse_size(command.opts.get(f"{name}_BUFSIZE", str(DEFAULT_BUFSIZE)))
            for name in (*streams, *command.channels)
        }
        self.plumbing = Plumbing(streams, command.channels)

    @property
    def label(self) -> str:
        return self.command.label or ""

    def limit(self, stream: str) -> int:
        """Buffer size of a stream in bytes (option STREAM_BUFSIZE)."""
        return self._limits[stream]

    def writable(self) -> list[str]:
        """Names of the streams that may be written to."""
        return list(self.inputs)

    # -- start

    def started(self, pid: int) -> None:
        """The process runs: connect its streams."""
        self.pid = pid
        self.plumbing.close_theirs()
        self._connect()
        self.listener.on_started(self)
        if self._pending_signal:
            self.signal(self._pending_signal)

    def _connect(self) -> None:
        ours, self.plumbing.ours = self.plumbing.ours, {}
        for name, fd in ours.items():
            channel = name in self.command.channels
            if name == "stdin" or channel:
                target = os.dup(fd) if channel else fd
                self.inputs[name] = InputStream(target, partial(self._drained, name), channel)
            if name != "stdin":
                lines = self.command.opts.get(f"{name}_LINE_BUFFER", "true") != "false"
                self.outputs[name] = OutputStream(name, fd, self._output, lines, self._limits[name])

    def failed(self, error: FluxError) -> None:
        """The process could not be started."""
        self.plumbing.close_theirs()
        self.plumbing.close_ours()
        self.complete = True
        self.listener.on_failed(self, error)

    # -- while it runs

    def _output(self, stream: str, data: bytes, eof: bool) -> None:
        self.listener.on_output(self, stream, data, eof)
        if eof:
            self._check_complete()

    def _drained(self, stream: str, count: int) -> None:
        self.listener.on_drained(self, stream, count)

    def write(self, stream: str, data: bytes, eof: bool) -> None:
        """Give the process input. FluxError ENOSPC when it would pass the buffer size; unknown streams are ignored."""
        target = self.inputs.get(stream)
        if target is None:
            return
        if target.backlog + len(data) > self._limits[stream]:
            raise FluxError(
                errno.ENOSPC, f"{stream} of process {self.pid} has more than {self._limits[stream]} bytes waiting"
            )
        target.write(data, eof)

    def pause(self) -> None:
        """Read no more output until `resume`: who gets it is behind."""
        for stream in self.outputs.values():
            stream.pause()

    def resume(self) -> None:
        for stream in self.outputs.values():
            stream.resume()

    def check_stopped(self) -> None:
        """Tell the listener when a signal has stopped the process; one that is not our own child is not seen."""
        try:
            info = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return
        if info is not None:
            self.listener.on_stopped(self)

    def signal(self, signum: int) -> None:
        """Signal the process, with its group unless it has none; one that is not yet started gets it then.

        Of a process that has exited the group is signalled, as long as something in it may hold the output open.
        """
        if not self.pid:
            self._pending_signal = signum
            return
        if self.complete:
            return
        if not self.local_flags & LocalFlag.NO_SETPGRP:
            try:
                os.killpg(self.pid, signum)
                return
            except ProcessLookupError:
                pass  # nothing of the group is left, or a forked process has not made it yet
        if self.status is None:
            os.kill(self.pid, signum)

    # -- end

    def exited(self, status: int) -> None:
        self.status = status
        for stream in self.inputs.values():
            stream.close()
        self.listener.on_finished(self)
        self._check_complete()

    def _check_complete(self) -> None:
        if self.status is None or self.complete or any(not out.closed for out in self.outputs.values()):
            return
        self.complete = True
        self.listener.on_complete(self)

    def state(self) -> str:
        """ "R" while it runs or sleeps, "T" stopped, "Z" exited."""
        if self.status is not None:
            return "Z"
        try:
            with open(f"/proc/{self.pid}/stat") as file:
                letter = file.read().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return "R"
        return letter.upper() if letter in "tTZ" else "R"


def launch_error(exc: OSError) -> FluxError:
    """The error of an exec request for what the system said."""
    where = (
        f"{exc.filename}: " if exc.filename and os.path.isabs(exc.filename) and not os.path.isfile(exc.filename) else ""
    )
    reason = os.strerror(exc.errno or errno.EINVAL)
    return FluxError(exc.errno or errno.EINVAL, f"error launching process: {where}{reason}")


def spawn(process: Process, env: Mapping[str, str], fds: Sequence[int] = ()) -> int:
    """Start a process's command, which gets fds, too, and give its pid. FluxError when it cannot be executed."""
    command, theirs = process.command, process.plumbing.theirs
    inherit = process.local_flags & LocalFlag.STDIO_FALLTHROUGH
    stdin, stdout, stderr = (None, None, None) if inherit else process.plumbing.stdio
    channels = {name: theirs[name] for name in command.channels}
    try:
        popen = subprocess.Popen(
            command.cmdline,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**env, **{name: str(fd) for name, fd in channels.items()}},
            cwd=_directory(command.cwd, 2 if inherit else theirs["stderr"]),
            pass_fds=[*channels.values(), *fds],
            process_group=None if process.local_flags & LocalFlag.NO_SETPGRP else 0,
        )
    except OSError as exc:
        raise launch_error(exc) from None
    except ValueError as exc:
        raise FluxError(errno.EINVAL, f"error launching process: {exc}") from None
    popen.returncode = 0  # its end is ours to collect; subprocess must not wait for it a second time
    return popen.pid


def _directory(wanted: str | None, stderr: int) -> str | None:
    """Where to run: not every host has every directory, and the process is told when it gets /tmp in its place."""
    try:
        if wanted is None or (stat.S_ISDIR(os.stat(wanted).st_mode) and os.access(wanted, os.X_OK)):
            return wanted
        reason = os.strerror(errno.EACCES if os.path.isdir(wanted) else errno.ENOTDIR)
    except OSError as exc:
        reason = exc.strerror
    os.write(stderr, f"cannot change to directory {wanted}: {reason}: /tmp is used instead\n".encode())
    return "/tmp"


def watch_exit(pid: int, callback: Callable[[int], None]) -> None:
    """Call back with the wait status once a child process has exited."""
    loop = asyncio.get_running_loop()
    pidfd = os.pidfd_open(pid)

    def ready() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        callback(os.waitpid(pid, 0)[1])

    loop.add_reader(pidfd, ready)
