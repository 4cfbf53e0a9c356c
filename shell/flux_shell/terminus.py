"""The server of `flux terminus`: programs on terminals of their own, which clients attach to and leave again.

Run as `python -m flux_shell.terminus SERVICE` by the first `flux terminus start` (flux-terminus(1)). It serves
SERVICE.new, .list, .kill and .kill-server, and each session as SERVICE.ID; it ends with its last session or its broker.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from typing import Any, NamedTuple

from flux.constants import FLUX_POLLIN
from flux.core.handle import Flux
from flux.errors import FluxError
from flux.hooks.shell import DEFERRED
from flux.message import Message
from flux_shell.service import Service
from flux_shell.task import Task
from flux_shell.terminal import Session

__all__ = ["Server", "main"]


class _Entry(NamedTuple):
    """A session. killers: requests to be answered once its program has ended."""

    name: str
    ctime: float
    program: Task
    terminal: Session
    killers: list[Message]


class Server:
    """The sessions of one service.

    Args:
        flux: the handle. name: of the service. FluxError EEXIST when the broker has one of that name.
    """

    def __init__(self, flux: Flux, name: str) -> None:
        flux.service_register(name).get()
        self._flux = flux
        self._ctime = time.time()
        self._rank = flux.get_rank()
        self._sessions: dict[int, _Entry] = {}
        self._ending = False
        self._service = Service(flux, name, "")
        for method in ("new", "list", "kill", "kill-server", "disconnect"):
            self._service.on_request(method, getattr(self, f"_{method.replace('-', '_')}"))

    def run(self) -> None:
        """Serve until there is no session any more, or no broker."""
        self._flux.call_later(60.0, self._check_use)  # whoever started this one may have gone before it asked
        reactor = self._flux.get_reactor()
        while not self._ending:
            try:
                reactor.run_once()
            except FluxError:
                if self._flux.session.error is None:
                    raise
            self._ending = self._ending or self._flux.session.error is not None
        for entry in self._sessions.values():
            entry.program.kill(signal.SIGKILL)

    def _check_use(self) -> None:
        self._ending = self._ending or not self._sessions

    # -- requests

    def _new(self, msg: Message) -> dict[str, Any]:
        asked = msg.payload
        env = dict(asked.get("environ") or os.environ)
        argv = list(asked.get("cmd") or [env.get("SHELL", "/bin/sh")])
        number = next(n for n in range(len(self._sessions) + 1) if n not in self._sessions)
        terminal = Session(self._flux, lambda _data, eof: self._closed(number, eof), patient=True)
        program = Task(None, number, number, argv, {**env, "FLUX_TERMINUS_SESSION": str(number)})
        program.terminal = terminal.path
        try:
            os.chdir(asked.get("cwd") or "/")
            program.start(None)
        except OSError as exc:
            terminal.discard()
            raise FluxError(exc.errno or errno.EIO, f"failed to run {argv[0]}: {exc.strerror}") from None
        finally:
            os.chdir("/")
        terminal.started()
        name = str(asked.get("name") or os.path.basename(argv[0]))
        self._sessions[number] = _Entry(name, time.time(), program, terminal, [])
        self._service.on_request(str(number), terminal.request)
        pidfd = os.pidfd_open(program.pid)
        self._flux.get_reactor().add_fd(pidfd, FLUX_POLLIN, lambda _events: self._exited(number, pidfd))
        return {"name": name, "pty_service": f"{self._service.name}.{number}", "id": number}

    def _list(self, _msg: Message) -> dict[str, Any]:
        server = {"service": self._service.name, "rank": self._rank, "ctime": self._ctime}
        return {"server": server, "sessions": [self._line(number) for number in sorted(self._sessions)]}

    def _line(self, number: int) -> dict[str, Any]:
        entry = self._sessions[number]
        exited = int(entry.program.state == "Exited")
        known = {"id": number, "name": entry.name, "clients": entry.terminal.clients}
        return {**known, "pid": entry.program.pid, "exited": exited, "ctime": entry.ctime}

    def _kill(self, msg: Message) -> Any:
        entry = self._sessions.get(int(msg.payload["id"]))
        if entry is None:
            raise FluxError(errno.ENOENT, os.strerror(errno.ENOENT))
        entry.program.kill(int(msg.payload["signal"]))
        if entry.program.state == "Exited":
            entry.terminal.drain()
        elif msg.payload.get("wait"):
            entry.killers.append(msg)
            return DEFERRED
        return None

    def _kill_server(self, msg: Message) -> Any:
        self._flux.respond(msg)
        self._ending = True
        return DEFERRED

    def _disconnect(self, msg: Message) -> Any:
        for entry in self._sessions.values():
            entry.terminal.disconnect(msg.sender)
        return DEFERRED

    # -- ends

    def _exited(self, number: int, pidfd: int) -> None:
        self._flux.get_reactor().remove_fd(pidfd)
        os.close(pidfd)
        entry = self._sessions[number]
        status = os.waitpid(entry.program.pid, 0)[1]
        entry.program.exited(status)
        entry.terminal.exited(status)
        for msg in entry.killers:
            self._flux.respond(msg)
        if entry.killers:
            entry.terminal.drain()

    def _closed(self, number: int, eof: bool) -> None:
        """Of a session whose program has ended, clients have got all there was to see."""
        if eof and number in self._sessions:
            del self._sessions[number]
            self._service.drop(str(number))
            self._ending = self._ending or not self._sessions


def main() -> int:
    """Leave whoever started this process, tell it through stdout when the service is there, and serve."""
    with Flux() as flux:
        try:
            server = Server(flux, sys.argv[1])
        except FileExistsError:
            return 0  # another one was faster
        _let_go()
        server.run()
    return 0


def _let_go() -> None:
    """Leave stdout and stderr to whoever started this process, and waits for their end."""
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(null, fd)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
