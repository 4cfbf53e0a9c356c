"""Shell option coprocess: helpers, such as monitors, that run beside the tasks of a job on its nodes."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from flux.constants import FLUX_POLLIN
from flux.core.reactor import Timer
from flux.hooks.shell import hookimpl
from flux.idset import IDset
from flux.message import Message
from flux.stdio import decode_io, encode_io
from flux.util import parse_fsd
from flux_shell.option_names import misnamed
from flux_shell.task import STREAMS, LaunchError, Task

if TYPE_CHECKING:
    from flux_shell.shell import Shell

__all__ = ["Coprocesses"]

LOG_ERR, LOG_WARNING = 3, 4
_TIMEOUT = "10s"
_KEYS = ("command", "output", "ranks")


class _Plan(NamedTuple):
    """A helper as the option describes it. ranks: of the shells that start it."""

    name: str
    command: list[str]
    output: str
    ranks: set[int]


def _plan(name: str, entry: Any, size: int) -> _Plan:
    """ValueError when the entry is none."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name}: {entry!r:.60} is no object with command, output and ranks")
    if error := misnamed(f"coprocess.{name}", entry, _KEYS):
        raise ValueError(error)
    command, ranks = entry.get("command"), entry.get("ranks", "all")
    if not isinstance(command, list) or not command:
        raise ValueError(f"{name}: command must be a non-empty array")
    if not all(isinstance(arg, str) for arg in command):
        raise ValueError(f"{name}: command elements must be strings")
    try:
        wanted = IDset(range(size)) if ranks == "all" else IDset(ranks)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: invalid ranks {ranks!r}: an idset such as 0-1 or all was expected") from None
    return _Plan(name, command, str(entry.get("output") or f"coproc-{name}-{{{{id}}}}.log"), set(wanted))


def _kill_timeout(asked: object) -> float:
    try:
        return parse_fsd(str(asked))
    except ValueError as exc:
        raise ValueError(f"coprocess-kill-timeout: {exc}") from None


class Coprocesses:
    """Starts helpers before the first task, and ends them after the last one of this shell."""

    def __init__(self) -> None:
        self._running: list[_Coprocess] = []
        self._plans: dict[str, _Plan] = {}
        self._files: dict[str, int] = {}
        self._senders: dict[str, set[int]] = {}
        self._timer: Timer | None = None

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        asked = shell.options.get("coprocess")
        if asked is None:
            return
        self._shell = shell
        self._timeout = _kill_timeout(shell.options.get("coprocess-kill-timeout", _TIMEOUT))
        if not isinstance(asked, dict) or not asked:
            raise ValueError("the option must be a non-empty object, such as coprocess.NAME.command=ARRAY")
        self._plans = {name: _plan(name, entry, shell.size) for name, entry in asked.items()}
        if shell.rank == 0:
            shell.on_request("coprocess-write", self._received)
            for plan in self._plans.values():
                self._warn_of_ranks(plan)
                self._expect(plan)

    def _warn_of_ranks(self, plan: _Plan) -> None:
        missing = plan.ranks.difference(range(self._shell.size))
        if missing:
            text = f"{plan.name}: ranks {IDset(missing)} are not there, the job has shells 0-{self._shell.size - 1}"
            self._shell.log(LOG_WARNING, text, "coprocess")

    def _expect(self, plan: _Plan) -> None:
        """Stay for what other shells send of a helper's output."""
        shared = not self._shell.mustache_is_per_rank(plan.output)
        self._senders[plan.name] = plan.ranks & set(self._shell.others()) if shared else set()
        for _ in self._senders[plan.name]:
            self._shell.add_completion_ref("coprocess-output")

    # -- the helpers of this node

    @hookimpl
    def shell_post_init(self, shell: Shell) -> None:
        for plan in self._plans.values():
            if shell.rank in plan.ranks:
                self._start(shell, plan)

    def _start(self, shell: Shell, plan: _Plan) -> None:
        relayed = shell.rank > 0 and not shell.mustache_is_per_rank(plan.output)
        take = partial(self._send if relayed else self._write, plan)
        try:
            self._running.append(_Coprocess(shell, plan.command, take))
        except LaunchError as exc:
            shell.log(LOG_ERR, f"{plan.name}: launch failed: {exc.strerror}", "coprocess")
        if relayed:
            for flow in shell.flows:
                flow.on_drained.append(self._resume)

    @hookimpl
    def shell_finish(self, shell: Shell) -> None:
        self._signal(signal.SIGTERM)
        if self._running:
            self._timer = shell.reactor.call_later(self._timeout, lambda: self._signal(signal.SIGKILL))

    def _signal(self, signum: int) -> None:
        for process in self._running:
            process.kill(signum)

    @hookimpl
    def shell_exit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for process in self._running:
            process.end()
        for fd in self._files.values():
            os.close(fd)

    # -- output

    def _write(self, plan: _Plan, data: bytes, _eof: bool = False) -> None:
        if not data:
            return
        if plan.name not in self._files:
            self._files[plan.name] = self._open(plan)
        view = memoryview(data)
        while view:
            view = view[os.write(self._files[plan.name], view) :]

    def _open(self, plan: _Plan) -> int:
        path = self._shell.mustache_render(plan.output)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            self._shell.log(LOG_ERR, f"{plan.name}: open {path}: {exc.strerror}", "coprocess")
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def _send(self, plan: _Plan, data: bytes, eof: bool) -> None:
        shell = self._shell
        if data or eof:
            shell.send(0, "coprocess-write", {"context": encode_io(plan.name, str(shell.rank), data, eof)})
        if any(flow.is_full for flow in shell.flows):
            for process in self._running:
                process.pause()

    def _resume(self) -> None:
        for process in self._running:
            process.resume()

    def _received(self, msg: Message) -> None:
        chunk = decode_io(msg.payload["context"])
        self._write(self._plans[chunk.stream], chunk.data)
        if chunk.eof:
            self._finished(chunk.stream, int(chunk.rank))

    def _finished(self, name: str, shell_rank: int) -> None:
        if shell_rank in self._senders[name]:
            self._senders[name].remove(shell_rank)
            self._shell.remove_completion_ref("coprocess-output")

    @hookimpl
    def shell_lost(self, shell_rank: int) -> None:
        for name in self._senders:
            self._finished(name, shell_rank)


class _Coprocess:
    """A helper's process. on_data: takes its stdout and stderr, in whole lines, and once the end of both.

    Raises:
        LaunchError: it cannot be executed; on_data has got the end.
    """

    def __init__(self, shell: Shell, command: list[str], on_data: Any) -> None:
        self._shell, self._on_data = shell, on_data
        self._open = len(STREAMS)
        argv = [shell.mustache_render(arg) for arg in command]
        self._process = Task(shell, shell.rank, -1, argv, dict(shell.env))
        self._readers = [self._process.channel_subscribe(stream, self._take) for stream in STREAMS]
        self._process.start(None)
        shell.add_completion_ref("coprocess")
        self._pidfd = os.pidfd_open(self._process.pid)
        shell.reactor.add_fd(self._pidfd, FLUX_POLLIN, lambda _events: self._collect())

    def _take(self, data: bytes, eof: bool) -> None:
        self._open -= eof
        self._on_data(data, not self._open)

    def kill(self, signum: int) -> None:
        self._process.kill(signum)

    def pause(self) -> None:
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        for reader in self._readers:
            reader.resume()

    def end(self) -> None:
        """Kill it if it runs, and wait for that."""
        if self._process.state == "Running":
            self.kill(signal.SIGKILL)
            self._collect()

    def _collect(self) -> None:
        """It has ended, and so does what it has left behind, which would hold its output open."""
        self._shell.reactor.remove_fd(self._pidfd)
        os.close(self._pidfd)
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.kill(signal.SIGKILL)
        self._process.exited(os.waitpid(self._process.pid, 0)[1])
        self._shell.remove_completion_ref("coprocess")
