"""The process table of the job, for debuggers and `flux job hostpids`, and tasks that wait for a debugger.

The request "proctable" to the first shell is answered for the whole job, to another one for its own tasks
(`flux.proctable`). With `-o stop-tasks-in-exec` tasks stop right after execve(2), before their first instruction: who
attached a debugger sends them SIGCONT (`flux job kill -s CONT`).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from flux.errors import FluxError
from flux.hooks.shell import DEFERRED, hookimpl
from flux.message import Message
from flux.proctable import Process, decode, encode
from flux.rpc import RPC

if TYPE_CHECKING:
    from flux_shell.shell import Shell
    from flux_shell.task import Task

__all__ = ["Mpir"]

PTRACE_TRACEME, PTRACE_DETACH = 0, 17


class Mpir:
    """Answers with process tables; makes tasks stop when that is asked for."""

    @hookimpl
    def shell_init(self, shell: Shell) -> None:
        self._shell = shell
        shell.on_request("proctable", self._proctable)
        if shell.options.get("stop-tasks-in-exec"):
            shell.stack.register(_StopInExec(), "stop-tasks-in-exec")  # task_exec has a price, so only now
            shell.add_event_context("shell.start", {"sync": True})

    def _local(self) -> list[Process]:
        rank, host = self._shell.job.nodes[self._shell.rank].rank, socket.gethostname()
        return [Process(task.rank, host, task.pid, task.argv[0], rank) for task in self._shell.tasks]

    def _proctable(self, msg: Message) -> Any:
        shell = self._shell
        if len(shell.tasks) < shell.job.counts[shell.rank]:
            raise FluxError(errno.EAGAIN, "not all tasks are started")
        if shell.rank or shell.size == 1:
            return encode(self._local())
        _Gathering(shell, msg, self._local())
        return DEFERRED


class _Gathering:
    """Asks the other shells, then answers."""

    def __init__(self, shell: Shell, msg: Message, processes: list[Process]) -> None:
        self._shell, self._msg = shell, msg
        self._processes = processes
        self._failure: FluxError | None = None
        self._due = shell.size - 1
        shell.add_completion_ref("proctable")
        for rank in shell.others():
            shell.rpc(rank, "proctable", {}).then(self._answered)

    def _answered(self, rpc: RPC) -> None:
        try:
            self._processes += decode(rpc.get())
        except (FluxError, ValueError) as exc:
            self._failure = FluxError(errno.ECANCELED, f"process table of a shell: {exc}")
        self._due -= 1
        if self._due:
            return
        self._shell.remove_completion_ref("proctable")
        if self._failure is None:
            self._shell.flux.respond(self._msg, encode(sorted(self._processes)))
        else:
            self._shell.flux.respond_error(self._msg, self._failure.errno, str(self._failure))


class _StopInExec:
    """A task is traced up to its execve(2), and let go with a SIGSTOP."""

    def __init__(self) -> None:
        import ctypes  # not above: what few jobs use would be mapped in every shell

        self._ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._ptrace.restype = ctypes.c_long
        self._errno = ctypes.get_errno

    def _call(self, request: int, pid: int) -> None:
        if self._ptrace(request, pid, None, None) < 0:
            raise FluxError(self._errno(), f"ptrace: {os.strerror(self._errno())}")

    @hookimpl
    def task_exec(self) -> None:
        self._call(PTRACE_TRACEME, 0)

    @hookimpl
    def task_fork(self, task: Task) -> None:
        _, status = os.waitpid(task.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise FluxError(errno.ESRCH, f"task {task.rank} ended before it could be stopped")
        os.kill(task.pid, signal.SIGSTOP)
        self._call(PTRACE_DETACH, task.pid)
