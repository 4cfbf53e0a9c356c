"""Terminals for tasks: `-o pty`, pty.ranks, pty.capture, pty.interactive (flux-shell(1), SHELL OPTIONS)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flux.hooks.shell import DEFERRED, hookimpl
from flux.idset import IDset
from flux.message import Message
from flux_shell.option_names import object_of
from flux_shell.terminal import Session

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Pty"]

LOG_WARNING = 4
_KEYS = ("ranks", "capture", "interactive")


class Pty:
    """Gives tasks a terminal in place of pipes; the one of task 0 may be attached to."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._ranks: set[int] = set()
        self._capture = self._interactive = False

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        asked = shell.options.get("pty")
        if asked is None or asked is False or shell.standalone:
            return
        self._shell = shell
        self._read_options(asked)
        for rank in sorted(self._ranks):
            self._open(rank)
        shell.on_request("terminus.disconnect", self._disconnect)
        for flow in shell.flows:
            flow.on_drained.append(self._resume)
        if self._interactive and 0 in self._ranks:
            shell.add_event_context("shell.init", {"pty": "terminus.0"})
            if self._capture:
                shell.add_event_context("shell.init", {"capture": 1})

    def _read_options(self, asked: Any) -> None:
        shell = self._shell
        options = object_of("pty", asked, "pty.ranks=0", _KEYS) if isinstance(asked, dict) else {}
        self._interactive = bool(options.get("interactive"))
        self._capture = bool(options.get("capture", not self._interactive))
        wanted = str(options.get("ranks", "0" if self._interactive else "all"))
        local = set(shell.job.task_ranks(shell.rank))
        try:
            self._ranks = local if wanted == "all" else local & set(IDset(wanted))
        except ValueError as exc:
            raise ValueError(f"invalid shell pty option: pty.ranks: {exc}") from None
        if self._interactive and 0 in local - self._ranks:
            shell.log(LOG_WARNING, "adding a terminal for rank 0, which is the one to attach to", "pty")
            self._ranks.add(0)

    def _open(self, rank: int) -> None:
        shell = self._shell
        session = Session(shell.flux, partial(self._output, rank), self._interactive and not rank)
        self._sessions[rank] = session
        shell.on_request(f"terminus.{rank}", session.request)
        shell.add_completion_ref("terminus")

    # -- tasks

    @hookimpl(tryfirst=True)
    def task_init(self, task: Task) -> None:
        if task.rank in self._sessions:
            task.terminal = self._sessions[task.rank].path
            task.env["FLUX_TERMINUS_SESSION"] = str(task.rank)

    @hookimpl
    def task_fork(self, task: Task) -> None:
        if task.rank in self._sessions:
            self._sessions[task.rank].started()

    @hookimpl
    def task_exit(self, task: Task) -> None:
        if task.rank in self._sessions:
            self._sessions[task.rank].exited(task.status)

    def _output(self, rank: int, data: bytes, eof: bool) -> None:
        if self._capture or rank:
            self._shell.call("shell.output", shell=self._shell, stream="stdout", rank=rank, data=data, eof=False)
            if self._is_full():
                self._sessions[rank].pause()
        if eof:
            for stream in ("stdout", "stderr"):
                self._shell.call("shell.output", shell=self._shell, stream=stream, rank=rank, data=b"", eof=True)
            self._shell.remove_completion_ref("terminus")

    # -- flow control and clients

    def _is_full(self) -> bool:
        return any(flow.is_full for flow in self._shell.flows)

    def _resume(self) -> None:
        if not self._is_full():
            for session in self._sessions.values():
                session.resume()

    def _disconnect(self, msg: Message) -> Any:
        for session in self._sessions.values():
            session.disconnect(msg.sender)
        return DEFERRED
