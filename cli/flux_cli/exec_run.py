"""One run of `flux exec`: processes on many ranks, their output, our input and signals, the exit code."""

from __future__ import annotations

import os
import signal
import sys
import time

from flux.idset import IDset
from flux.rexec import RemoteProcess, attach_request, exec_request
from flux.rexec_signing import signer_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from flux.core.handle import Flux
    from flux.errors import FluxError
    from flux.rexec import Request
    from flux.ring import RingRoute

__all__ = ["ExecRun", "complain"]

_CHUNK = 65536
_IMPATIENCE = 2.0  # seconds within which a second Ctrl-C means: leave now
_FORCED = 128 + signal.SIGINT
_POLLIN = 1


def complain(rank: int, name: str, error: FluxError) -> int:
    """Say on stderr what kept a command from running; gives the exit code for it."""
    from flux.rexec import launch_exitcode

    print(f"flux-exec: Error: rank {rank}: {name}: {error}", file=sys.stderr)
    return launch_exitcode(error)


class ExecRun:
    """Runs a command on some ranks, or attaches to a background process there.

    Args:
        args: the parsed command line.
        way: what sends the requests.
    """

    def __init__(self, handle: Flux, args: argparse.Namespace, ranks: IDset, way: Flux | RingRoute) -> None:
        self._handle, self._way = handle, way
        self._reactor = handle.get_reactor()
        self._args = args
        self._ranks = ranks
        self._name = args.command[0]
        self._processes: list[RemoteProcess] = []
        self._code = 0
        self._started_at = time.monotonic()
        self._last_interrupt = -_IMPATIENCE
        self._left = len(ranks)
        self._stdin: InputFan | None = None
        self._endings: dict[str, list[int]] = {}

    def run(self) -> int:
        watchers = [self._handle.signal_watcher_create(s, self._signalled) for s in (signal.SIGINT, signal.SIGTERM)]
        for watcher in watchers:
            watcher.start()
        self._verbose(f"Starting {self._name} on {_shown(self._ranks)}")
        self._start()
        self._verbose("Sent all requests")
        self._handle.reactor_run()
        for watcher in watchers:
            watcher.stop()
        self._tell_endings()
        return self._code

    def _start(self) -> None:
        method, request = self._request()
        sign = signer_for(self._handle, self._args.service)
        if sign is not None:
            request = sign(f"{self._args.service}.{method}", request)
        for rank in self._ranks:
            process = RemoteProcess(
                self._way,
                request,
                rank,
                service=self._args.service,
                method=method,
                sign=sign,
                on_output=self._output,
                on_end=self._ended,
                on_credit=self._credit,
            )
            self._processes.append(process)
        if method == "exec":
            self._stdin = InputFan(self._reactor, self._processes, self._args.noinput)

    def _request(self) -> tuple[str, Request]:
        if not self._args.attach:
            cwd = self._args.dir or os.getcwd()
            return "exec", exec_request(self._args.command, cwd=cwd, label=self._args.label)
        name = self._name
        return "attach", attach_request(int(name)) if name.isdecimal() else attach_request(label=name)

    def _verbose(self, text: str) -> None:
        if self._args.verbose:
            print(f"{(time.monotonic() - self._started_at) * 1e3:.3f}ms: {text}", file=sys.stderr)

    # -- what comes back

    def _output(self, process: RemoteProcess, stream: str, data: bytes, _eof: bool) -> None:
        if not data:
            return
        if self._args.label_io:
            label = b"%d: " % process.rank
            data = b"".join(label + line for line in data.splitlines(keepends=True))
        out = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
        out.write(data)
        out.flush()

    def _credit(self, _process: RemoteProcess) -> None:
        if self._stdin is not None:
            self._stdin.go_on()

    def _ended(self, process: RemoteProcess) -> None:
        self._left -= 1
        self._code = max(self._code, process.exitcode)
        if process.error is not None:
            complain(process.rank, self._name, process.error)
        elif process.status:
            self._endings.setdefault(_ending(process.status), []).append(process.rank)
        if self._left:
            self._credit(process)
            return
        self._verbose(f"{len(self._processes)} tasks complete with code {self._code}")
        if self._stdin is not None:
            self._stdin.close()
        self._reactor.stop()

    def _tell_endings(self) -> None:
        if self._args.quiet:
            return
        sys.stdout.flush()
        for how, ranks in self._endings.items():
            print(f"{_shown(IDset(ranks))}: {how}", file=sys.stderr)

    # -- signals

    def _signalled(self, _handle: Any, _watcher: Any, signum: int, _args: Any) -> None:
        now = time.monotonic()
        if signum == signal.SIGINT:
            if now - self._last_interrupt < _IMPATIENCE:
                self._code = _FORCED
                self._reactor.stop()
                return
            self._last_interrupt = now
        running = [process for process in self._processes if process.pid and not process.ended]
        if not self._args.quiet:
            print(f"flux-exec: sending {signal.Signals(signum).name} to {len(running)} processes", file=sys.stderr)
        for process in running:
            process.kill(signum).then(self._killed, process)

    def _killed(self, rpc: Any, process: RemoteProcess) -> None:
        try:
            rpc.get()
        except OSError as exc:
            if not process.ended:
                print(f"flux-exec: rank {process.rank}: kill: {exc}", file=sys.stderr)


class InputFan:
    """Copies our stdin to every process, as fast as the slowest of them takes it."""

    def __init__(self, reactor: Any, processes: list[RemoteProcess], closed: bool) -> None:
        self._reactor = reactor
        self._processes = processes
        self._watched = False
        self._always_ready = False
        self._ended = False
        self._scheduled = False
        if closed:
            self._send(b"")
        else:
            self.go_on()

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        self._pause()

    def go_on(self) -> None:
        """Read on if there is room for it everywhere."""
        if self._ended or self._watched or self._scheduled or not self._room():
            return
        if not self._always_ready:
            try:
                self._reactor.add_fd(0, _POLLIN, lambda _events: self._read())
                self._watched = True
                return
            except PermissionError:
                self._always_ready = True  # a regular file
            except OSError:
                self._send(b"")  # there is no stdin
                return
        self._scheduled = True
        self._reactor.call_soon(self._read)

    def _room(self) -> int:
        return min((process.credit for process in self._processes if not process.ended), default=0)

    def _pause(self) -> None:
        if self._watched:
            self._watched = False
            self._reactor.remove_fd(0)

    def _read(self) -> None:
        self._scheduled = False
        room = self._room()
        if self._ended or room <= 0:
            self._pause()
            return
        try:
            data = os.read(0, min(_CHUNK, room))
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that hung up, a directory: nothing comes any more
        self._send(data)
        if self._watched and self._room() <= 0:
            self._pause()
        self.go_on()

    def _send(self, data: bytes) -> None:
        for process in self._processes:
            process.write(data, eof=not data)
        if not data:
            self.close()


def _shown(ranks: IDset) -> str:
    return f"[{ranks}]" if len(ranks) > 1 else str(ranks)


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"Exit {code}" if code >= 0 else signal.strsignal(-code) or f"Signal {-code}"
